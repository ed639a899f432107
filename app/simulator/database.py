"""The database in virtual time: a majority of its members must reach each other, and a loss stalls it for a while."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from app.adapters.sim.clock import SimClock
from app.adapters.sim.network import SimNetwork
from app.adapters.sim.store import Change, MemoryStore
from app.domain.errors import Conflict
from app.ports.store import StoreUnavailable
from app.simulator.upgrade import as_outdated

#: how long commits wait when a member is lost, until the others have evicted it (seconds, from and to)
_STALL_SECONDS = (0.5, 2.5)


class SimDatabase:
    """Members on up to five nodes, an odd number of them. `committed(who, changes)` is told of each transaction."""

    def __init__(
        self,
        clock: SimClock,
        random: Random,
        network: SimNetwork,
        names: Sequence[str],
        committed: Callable[[str, list[Change]], None],
    ) -> None:
        self._clock, self._random, self._network, self._committed = clock, random, network, committed
        self.members = tuple(names[: 5 if len(names) >= 5 else 3 if len(names) >= 3 else 1])
        self.lost: set[str] = set()
        self.trouble = {name: Trouble() for name in names}
        self.down = False
        self.truth = MemoryStore()
        self.truth.committed = lambda changes: committed("customer", list(changes))
        self._stalled_until = 0.0
        self._alive: frozenset[str] = frozenset()

    def access(self, node: str, *, outdated: bool = False) -> "Access":
        """The store port of that node's agent, whose software may be of the version before."""
        member = self.truth.member()
        member.committed = lambda changes: self._committed(node, list(changes))
        return Access(member, lambda: self.answers(node), self.trouble[node], outdated=outdated)

    def stall(self, seconds: float) -> None:
        """Every transaction that begins waits so long."""
        self._stalled_until = max(self._stalled_until, self._clock.monotonic() + seconds)

    def answers(self, node: str) -> bool:
        """True when that node reaches a primary component."""
        reached = self._network.reachable(node) & self._running()
        return not self.down and 2 * len(reached) > len(self.members)

    def latency(self) -> float:
        """How long the next transaction takes."""
        stall = max(0.0, self._stalled_until - self._clock.monotonic())
        return stall + self._random.uniform(0.005, 0.03)

    def look(self) -> None:
        """A node or a link changed: a member that is lost stalls the others."""
        groups = [self._network.reachable(m) & self._running() for m in self.members]
        alive = max(groups, key=len)
        if self._alive - alive:
            self._stalled_until = self._clock.monotonic() + self._random.uniform(*_STALL_SECONDS)
        self._alive = alive

    def _running(self) -> frozenset[str]:
        return frozenset(self.members) - self.lost


@dataclass
class Trouble:
    """What goes wrong with the next so many transactions of one node: see `MemoryStore`."""

    conflicts: int = 0
    answers_lost: int = 0


class Access:
    """The store as one node reaches it now."""

    def __init__(
        self, member: MemoryStore, answers: Callable[[], bool], trouble: Trouble, *, outdated: bool = False
    ) -> None:
        self._member, self._answers, self._trouble, self._outdated = member, answers, trouble, outdated

    def run(self, work: Callable[[Any], Any]) -> Any:
        """See `Store.run`."""
        if not self._answers():
            raise StoreUnavailable("no member of the database in reach is part of the primary component")
        trouble, member = self._trouble, self._member
        if trouble.conflicts:
            trouble.conflicts -= 1
            raise Conflict("too many others change the same things right now; try again")
        if trouble.answers_lost:
            trouble.answers_lost -= 1
            member.answers_lost = 1
        return member.run(as_outdated(work) if self._outdated else work)
