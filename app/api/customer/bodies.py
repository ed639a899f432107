"""What customers send."""

from typing import Annotated

from pydantic import Field

from app.api.call import Body
from app.domain.errors import InvalidInput

#: ids as the contract has them; rows of every database hold them
_Id = Annotated[int, Field(ge=1, le=2**31 - 1)]
Text = Annotated[str, Field(min_length=1, max_length=255)]
IdOrName = _Id | Text
Labels = dict[str, str]


class PublicNet(Body):
    """Addresses come later: nothing is attached yet, whatever is asked for. Naming one of them is refused."""

    enable_ipv4: bool = True
    enable_ipv6: bool = True
    ipv4: _Id | None = None
    ipv6: _Id | None = None


class CreateServer(Body):
    """POST /v1/servers."""

    name: Text
    server_type: IdOrName
    image: IdOrName
    location: IdOrName | None = None
    datacenter: IdOrName | None = None
    start_after_create: bool = True
    labels: Labels | None = None
    user_data: str | None = None
    automount: bool | None = None
    public_net: PublicNet | None = None
    placement_group: _Id | None = None
    ssh_keys: list[IdOrName] | None = None
    volumes: list[_Id] | None = None
    networks: list[_Id] | None = None
    firewalls: list[dict[str, _Id]] | None = None

    def refuse_what_is_missing(self) -> None:
        """InvalidInput for parts that this version does not have: to leave them out silently would be a lie."""
        for name in ("ssh_keys", "volumes", "networks", "firewalls"):
            if getattr(self, name):
                raise InvalidInput(name, "is not available in this version; leave it out")
        if self.public_net is not None and (self.public_net.ipv4 or self.public_net.ipv6):
            raise InvalidInput("public_net", "chosen addresses are not available in this version; leave them out")


class UpdateServer(Body):
    """PUT /v1/servers/{id}; what is not sent stays."""

    name: Text | None = None
    labels: Labels | None = None
