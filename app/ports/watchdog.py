"""The device that resets this node unless it is fed."""

from typing import Protocol


class Watchdog(Protocol):
    """Armed by opening, fed by writing.

    One that is opened by its first feed may refuse that one, and so ends the agent before a VM is started.
    """

    @property
    def timeout_seconds(self) -> float | None:
        """The timeout it is armed with; None when there is no watchdog and nothing is armed."""

    def feed(self) -> None:
        """Another timeout from now. Never blocks, never raises: a device that fails resets the node, as it should."""

    def disarm(self) -> None:
        """Orderly end: the node is not reset. Only for a stop with no VM left running."""
