"""What only a request can be refused for; the rest is in `app.domain.errors`."""

from app.domain.errors import Conflict, DomainError


class Unauthorized(DomainError):
    """There is no token, or it is unknown, revoked or expired. The text never says which of the last three."""


class TokenReadonly(DomainError):
    """A token with the scope `read` asked for a write."""


class Forbidden(DomainError):
    """The token is good, but not for this."""


class NotAdmitted(DomainError):
    """A plugin voted against a new VM. The text is its own, meant for the customer."""


class WrongState(Conflict):
    """The VM's status does not allow the command, and asking again will not help by itself."""
