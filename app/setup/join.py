"""`holdfast cluster join`: this machine becomes a member, by the word of one that is."""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from app.adapters.cluster_files import pki, places
from app.adapters.cluster_files.layout_json import layout_from_text
from app.domain.errors import Conflict
from app.domain.layout import Layout, Member
from app.domain.node import NodeRole
from app.setup import node_parts
from app.setup.errors import SetupFailed
from app.setup.init import wait_for_agent
from app.setup.invite import JOIN_PATH, JOINED_PATH
from app.setup.join_token import JoinToken
from app.setup.machine import Machine
from app.setup.steps import Step

CONNECT_SECONDS = 30
#: the member writes the layout before it answers, and its database may be busy
ANSWER_SECONDS = 120
Json = dict[str, Any]


@dataclass(frozen=True)
class JoinOrder:
    """`server`: HOST and PORT of the member that invites. `database` None: as the cluster needs it."""

    server: str
    port: int
    token: JoinToken
    node: str
    addresses: tuple[str, ...]
    role: NodeRole
    database: bool | None


def ask(order: JoinOrder, path: str, body: Json) -> Json:
    """One request to the member that invites, after its certificate proved to be the one in the token."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    # The token names the very certificate; who signed it for which name adds nothing.
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(order.server, order.port, timeout=CONNECT_SECONDS, context=tls)
    try:
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True) or b""
        if not hmac.compare_digest(hashlib.sha256(shown).hexdigest(), order.token.fingerprint):
            raise SetupFailed(
                f"{order.server}:{order.port} is not the node that made this token: check the address; somebody may be"
                " listening in between"
            )
        connection.sock.settimeout(ANSWER_SECONDS)
        connection.request("POST", path, json.dumps({"secret": order.token.secret.hex(), **body}))
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise SetupFailed(
            f"{order.server}:{order.port} does not answer ({error}): is `holdfast cluster invite` running there, and"
            " does no firewall stand between?"
        ) from error
    finally:
        connection.close()
    said: Json = json.loads(text)
    if answer.status != 200:
        raise SetupFailed(f"{order.server} refused: {said.get('error', answer.status)}")
    return said


class Join:
    """The steps. `ask` is how the inviting member is reached."""

    def __init__(self, machine: Machine, order: JoinOrder, ask: Callable[[JoinOrder, str, Json], Json] = ask) -> None:
        self._machine, self._order, self._ask = machine, order, ask
        self._bundle: Json = {}

    def steps(self) -> list[Step]:
        """In their order."""
        m = self._machine
        return [
            Step("programs", lambda: node_parts.check_parts(m)),
            Step("introduction", self._introduce),
            Step("keys and certificates", self._keys),
            Step("configuration", self._config),
            Step("corosync", lambda: node_parts.start_corosync(m, self._layout, self._corosync_key)),
            Step("database", lambda: node_parts.start_database(m, self._layout, self._own, first=False)),
            Step("libvirt", lambda: node_parts.start_libvirt(m)),
            Step("agent and API", lambda: node_parts.start_holdfast(m)),
            Step("first answers", lambda: wait_for_agent(m, self._order.node)),
            Step("farewell", self._joined),
        ]

    @property
    def _layout(self) -> Layout:
        return layout_from_text(self._bundle["layout"])

    @property
    def _own(self) -> Member:
        own = self._layout.member(self._order.node)
        if own is None:
            raise SetupFailed("the answer has another node in it: check the token")
        return own

    @property
    def _corosync_key(self) -> bytes:
        return base64.b64decode(self._bundle["corosync_key"])

    def _introduce(self) -> str:
        m, order = self._machine, self._order
        known = m.read(places.LAYOUT)
        key_pem = m.read(places.NODE_KEY)
        if key_pem is None:
            key_pem = pki.key_to_pem(pki.new_key())
            m.write(places.NODE_KEY, key_pem, 0o600)
        request = pki.new_request(order.node, pki.key_from_pem(key_pem))
        self._bundle = self._ask(order, JOIN_PATH, {
            "node": order.node, "addresses": list(order.addresses), "role": order.role.value,
            "database": order.database, "version": version("holdfast"), "csr": request.decode(),
        })  # fmt: skip
        if known is not None and layout_from_text(known.decode()).name != self._layout.name:
            raise Conflict("this node is in another cluster: `holdfast cluster leave` first")
        return f"{self._layout.name}, {len(self._layout.members)} members, this one is number {self._own.id}"

    def _keys(self) -> str:
        m, key = self._machine, self._machine.read(places.NODE_KEY)
        assert key is not None
        node_parts.write_keys(m, self._bundle["ca"].encode(), self._bundle["certificate"].encode(), key)
        if self._bundle["ca_key"]:
            m.write(places.CA_KEY, self._bundle["ca_key"].encode(), 0o600)
        return ""

    def _config(self) -> str:
        bundle = self._bundle
        return node_parts.write_config(
            self._machine, self._layout, self._own, bundle["database_password"], bundle["shared"]
        )

    def _joined(self) -> str:
        """A courtesy: this node is a member, whether the invitation hears of it or ends by itself."""
        try:
            self._ask(self._order, JOINED_PATH, {"node": self._order.node})
        except SetupFailed as error:
            return f"not heard, and this node is a member all the same: {error}"
        return ""
