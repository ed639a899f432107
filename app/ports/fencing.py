"""Make sure that a node can no longer write to shared storage."""

from collections.abc import Sequence
from typing import Protocol

from app.domain.cluster import Proof


class FenceFailed(Exception):
    """No proof was had. The node must be thought alive. The text says what was seen."""


class FenceMethod(Protocol):
    """One way to fence, with its devices."""

    @property
    def name(self) -> str:
        """`power`, `storage`, ..."""

    def covers(self, node: str) -> bool:
        """True when a device for that node is configured."""

    def fence(self, node: str, timeout_seconds: float) -> Proof:
        """Fence and prove by reading the state afterwards. FenceFailed otherwise, also on a time-out."""


FenceMethods = Sequence[FenceMethod]
