"""The workers port in virtual time: every piece of work takes a while, and its process can die under it."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random

from app.adapters.sim.clock import SimClock
from app.domain.events import Event

Work = Callable[[], Sequence[Event]]


class ProcessKilled(BaseException):
    """Raised in the middle of a piece of work: the process that does it is gone."""


class SimWorkers:
    """One agent process's lanes. Work takes effect at one moment, its events arrive a little later.

    `latency(lane)` says in how many seconds it takes effect. While the node is frozen (`suspend`) nothing moves. After
    `kill` no event arrives any more; what had begun may still have its effect: a request that has left the process
    is carried out by libvirtd, by the database, by the fence device. `died` is told when work ends in ProcessKilled.
    """

    def __init__(
        self,
        clock: SimClock,
        random: Random,
        latency: Callable[[str], float],
        put: Callable[[Sequence[Event]], None],
        died: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock, self._random, self._latency, self._put, self._died = clock, random, latency, put, died
        self._lanes: dict[str, deque[Work]] = {}
        self._took_effect: set[str] = set()
        self._dead = False
        self._suspended: list[Callable[[], None]] | None = None

    def submit(self, lane: str, work: Work) -> None:
        """See `Workers.submit`."""
        if self._dead:
            return
        queue = self._lanes.setdefault(lane, deque())
        queue.append(work)
        if len(queue) == 1:
            self._begin(lane)

    def kill(self) -> None:
        """The process is gone. Of what had begun, some still takes effect, now."""
        self._dead = True
        for lane, queue in self._lanes.items():
            if queue and lane not in self._took_effect and self._random.random() < 0.5:
                queue[0]()
        self._lanes.clear()

    def suspend(self) -> None:
        """The node is frozen: nothing begins, nothing ends."""
        self._suspended = self._suspended if self._suspended is not None else []

    def resume(self) -> None:
        """It goes on where it was."""
        waiting, self._suspended = self._suspended or [], None
        for call in waiting:
            self._clock.after(0.001, call)

    def _begin(self, lane: str) -> None:
        self._clock.after(self._latency(lane), lambda: self._effect(lane))

    def _effect(self, lane: str) -> None:
        if self._dead:
            return
        if self._suspended is not None:
            self._suspended.append(lambda: self._effect(lane))
            return
        self._took_effect.add(lane)
        try:
            events = self._lanes[lane][0]()
        except ProcessKilled:
            self._died()
            return
        self._clock.after(self._random.uniform(0.001, 0.01), lambda: self._deliver(lane, events))

    def _deliver(self, lane: str, events: Sequence[Event]) -> None:
        if self._dead:
            return
        if self._suspended is not None:
            self._suspended.append(lambda: self._deliver(lane, events))
            return
        queue = self._lanes[lane]
        queue.popleft()
        self._took_effect.discard(lane)
        if queue:
            self._begin(lane)
        self._put(events)
