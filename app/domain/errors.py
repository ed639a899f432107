"""What can be wrong with a request or a write, in the words of the domain.

Each error carries a sentence that says what was wrong and what to do. The shells (API, CLI) give it
a status code or an exit code; nothing here knows about HTTP.
"""


class DomainError(Exception):
    """Base of every refusal the product makes on purpose."""


class NotFound(DomainError):
    """The thing that was named does not exist, or belongs to another project."""


class NameTaken(DomainError):
    """Another thing of the same kind in this project has this name already."""


class InvalidInput(DomainError):
    """A field has a value that cannot be used. `field` says which one."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Conflict(DomainError):
    """The thing is in a state that does not allow this, or another request changes it right now."""


class Locked(DomainError):
    """The VM is locked (suspended): HA, API and console all obey that."""


class NoCapacity(DomainError):
    """No node can take this VM. The text says why for each node."""


class GuaranteeBroken(NoCapacity):
    """There is room, but it is kept free so that node failures stay survivable. The text says which would not be."""


class QuotaExceeded(DomainError):
    """The project's limit does not allow one more."""


class StaleEpoch(DomainError):
    """A coordinator that was replaced tried to write. It must step down and write nothing."""


class IdempotencyMismatch(DomainError):
    """The same idempotency key came with another request."""


class ScenarioError(DomainError):
    """A scenario file cannot be understood. The text names the file, the line and what was expected."""


class SoftwareTooOld(DomainError):
    """This software must not start: the cluster's state is of a newer one. The text says what to install."""
