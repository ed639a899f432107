"""Who is here: membership and quorum, the agents' group, and small signals."""

from collections.abc import Callable
from typing import Protocol

from app.domain.events import GroupChanged, MembershipChanged, SignalReceived

MembershipEvent = MembershipChanged | GroupChanged | SignalReceived


class Membership(Protocol):
    """Corosync, or one node alone. Callbacks only fill the inbox."""

    def start(self, sink: Callable[[MembershipEvent], None]) -> None:
        """Join, and call `sink` (from another thread) with each fact.

        When the connection is lost, `sink` gets MembershipChanged(empty, quorate=False) at once, and the
        connection is tried again until `stop`.
        """

    def send(self, kind: str, *, vm_id: int | None = None, epoch: int = 0, node: str = "") -> None:
        """Send a signal to all. Best effort: nothing is raised when it cannot be sent."""

    def stop(self) -> None:
        """Leave, and end the threads."""
