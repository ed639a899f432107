"""What network plugins observe and switch on this node."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PathReport:
    """One storage path as the plugin sees it now."""

    target: str
    name: str
    up: bool
    active: bool
    reason: str = ""
    latency_ms: float | None = None


class PathWatch(Protocol):
    """A plugin that keeps a storage path alive. It runs by itself between `start` and `stop`."""

    def start(self) -> None:
        """Begin to observe and to switch, in threads of its own."""

    def reports(self) -> Sequence[PathReport]:
        """What it sees now; never blocks."""

    def stop(self) -> None:
        """End its threads; routes stay as they are."""
