"""The fence of a simulated pool."""

from collections.abc import Callable
from dataclasses import dataclass, field

from app.ports.fencing import FenceReading
from app.ports.storage import StorageError
from app.ports.storage_fence import StorageClient


@dataclass
class SimStorageFence:
    """Keeps two numbers for each node, as the port says. `tell(node, what)` hears when a node is cut off or is not.

    * `fails`: nodes about which it answers nothing. `hangs`: the same, and whoever asks waits for the time-out.
    * `lies`: nodes whose cut it takes and does not carry out: reading gives that away.
    * `mute`: nodes whose cut it carries out and then cannot say so.
    * `false_readings`: node -> how many of its next readings say "cut", whatever is true. `faked`: of which that was.
    """

    pool: str
    tell: Callable[[str, str], None] = lambda _node, _what: None
    fails: set[str] = field(default_factory=set)
    hangs: set[str] = field(default_factory=set)
    lies: set[str] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    false_readings: dict[str, int] = field(default_factory=dict)
    faked: set[str] = field(default_factory=set)
    _cut: dict[str, int] = field(default_factory=dict)
    _restored: dict[str, int] = field(default_factory=dict)

    def cut(self, client: StorageClient, token: int, timeout_seconds: float) -> None:
        """See `StorageFence.cut`."""
        self._must_answer(client.node, timeout_seconds)
        if client.node not in self.lies:
            self._change(client.node, self._cut, token)

    def read(self, client: StorageClient, timeout_seconds: float) -> FenceReading:
        """See `StorageFence.read`."""
        self._must_answer(client.node, timeout_seconds)
        if client.node in self.mute:
            raise StorageError(f"{self.pool}: how it has {client.node} cannot be read")
        off = self.is_cut(client.node)
        if self.false_readings.get(client.node, 0):
            self.false_readings[client.node] -= 1
            self.faked.add(client.node)
            off = True
        return FenceReading(off, f"{client.node} is {'cut off' if off else 'let in'}")

    def restore(self, client: StorageClient, token: int, timeout_seconds: float) -> None:
        """See `StorageFence.restore`."""
        self._must_answer(client.node, timeout_seconds)
        self._change(client.node, self._restored, token)

    def is_cut(self, node: str) -> bool:
        """The truth."""
        return self._cut.get(node, 0) > self._restored.get(node, 0)

    def works(self, node: str) -> None:
        """The end of all that goes wrong."""
        for wrong in (self.fails, self.hangs, self.lies, self.mute):
            wrong.discard(node)
        self.false_readings.pop(node, None)

    def _change(self, node: str, tokens: dict[str, int], token: int) -> None:
        before = self.is_cut(node)
        tokens[node] = max(token, tokens.get(node, 0))
        if self.is_cut(node) is not before:
            self.tell(node, f"{'can no longer reach' if self.is_cut(node) else 'reaches'} the volumes of {self.pool}")

    def _must_answer(self, node: str, timeout_seconds: float) -> None:
        if node in self.fails:
            raise StorageError(f"{self.pool}: no answer about {node} within {timeout_seconds:g} s")
