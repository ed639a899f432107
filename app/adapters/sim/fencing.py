"""The fencing port over simulated nodes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.domain.cluster import Proof
from app.ports.fencing import FenceFailed, FenceReading


@dataclass
class SimFence:
    """Calls `cut[node]` and then reads `is_off(node)`, as the real one does with `off` and `status`.

    * `failures`: node -> how many of its next calls fail without doing anything (-1: all).
    * `lies`: nodes whose device says "done" to `off` and does nothing: the status then gives it away.
    * `false_readings`: node -> how many of its next readings say "off", whatever is true: a device that shows what it
      was told and not what is. What comes after them is the truth. `faked`: nodes of which that was said.
    """

    cut: Mapping[str, Callable[[], None]]
    is_off: Callable[[str], bool]
    name: str = "power"
    failures: dict[str, int] = field(default_factory=dict)
    lies: set[str] = field(default_factory=set)
    false_readings: dict[str, int] = field(default_factory=dict)
    faked: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def covers(self, node: str) -> bool:
        return node in self.cut

    def fence(self, node: str, timeout_seconds: float) -> Proof:
        if not self.covers(node):
            raise FenceFailed(f"{self.name}: no device is configured for {node}")
        self.calls.append(node)
        self._must_answer(node, timeout_seconds)
        if node not in self.lies:
            self.cut[node]()
        if not self._reads_off(node):
            raise FenceFailed(f"{self.name}: {node} still reads on")
        return Proof(self.name, f"status off of {node}")

    def read(self, node: str, timeout_seconds: float) -> FenceReading:
        if not self.covers(node):
            raise FenceFailed(f"{self.name}: no device is configured for {node}")
        self._must_answer(node, timeout_seconds)
        off = self._reads_off(node)
        return FenceReading(off, f"status {'off' if off else 'on'} of {node}")

    def _must_answer(self, node: str, timeout_seconds: float) -> None:
        left = self.failures.get(node, 0)
        if left:
            self.failures[node] = max(left - 1, -1)
            raise FenceFailed(f"{self.name}: the device of {node} did not answer within {timeout_seconds:g} s")

    def _reads_off(self, node: str) -> bool:
        left = self.false_readings.get(node, 0)
        if left:
            self.false_readings[node] = left - 1
            self.faked.add(node)
            return True
        return self.is_off(node)
