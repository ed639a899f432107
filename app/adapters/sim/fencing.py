"""The fencing port over simulated nodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.domain.cluster import Proof
from app.ports.fencing import FenceFailed


@dataclass
class SimFence:
    """Calls `cut[node]` and then reads `is_off(node)`, as the real one does with `off` and `status`.

    * `failures`: node -> how many of its next calls fail without doing anything (-1: all).
    * `lies`: nodes whose device says "done" to `off` and does nothing: the status then gives it away.
    """

    cut: Mapping[str, Callable[[], None]]
    is_off: Callable[[str], bool]
    name: str = "power"
    failures: dict[str, int] = field(default_factory=dict)
    lies: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def covers(self, node: str) -> bool:
        return node in self.cut

    def fence(self, node: str, timeout_seconds: float) -> Proof:
        if not self.covers(node):
            raise FenceFailed(f"{self.name}: no device is configured for {node}")
        self.calls.append(node)
        left = self.failures.get(node, 0)
        if left:
            self.failures[node] = max(left - 1, -1)
            raise FenceFailed(f"{self.name}: the device of {node} did not answer within {timeout_seconds:g} s")
        if node not in self.lies:
            self.cut[node]()
        if not self.is_off(node):
            raise FenceFailed(f"{self.name}: {node} still reads on")
        return Proof(self.name, f"status off of {node}")
