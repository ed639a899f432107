"""Make sure that a node can no longer write to shared storage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain.cluster import Proof


class FenceFailed(Exception):
    """No proof was had. The node must be thought alive. The text says what was seen."""


@dataclass(frozen=True, slots=True)
class FenceReading:
    """What the devices of a node say now. `off`: the node cannot write. `said`: their words, for a human."""

    off: bool
    said: str


class FenceMethod(Protocol):
    """One way to fence: one level of power devices, or a pool's own fence. Several devices of a node count as one:
    it is off when all are."""

    @property
    def name(self) -> str:
        """`power` for the first level, `power2` for the second, `storage`, ..."""

    def covers(self, node: str) -> bool:
        """True when a device for that node is configured."""

    def fence(self, node: str, timeout_seconds: float) -> Proof:
        """Fence and prove by reading the state afterwards. FenceFailed otherwise, also on a time-out."""

    def read(self, node: str, timeout_seconds: float) -> FenceReading:
        """Read the state of all its devices and change nothing. FenceFailed when one cannot be read: no answer, wrong
        credentials, no permission. This is also what the rehearsal asks, long before it is needed."""


FenceMethods = Sequence[FenceMethod]
