"""Virtual time: a clock that stands still until the next thing is due. Same seed, same order, same result."""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

#: when every simulation begins
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class NodeClock:
    """The clock port of one node: it does not agree with the others'.

    `ahead_seconds` is by how much its UTC is ahead; `drift_ppm` how many microseconds it gains in a second. The
    kernel slews a clock by 500 ppm at most, so two healthy ones never drift apart by more than 1000.
    """

    def __init__(self, clock: "SimClock", ahead_seconds: float = 0.0, drift_ppm: float = 0.0) -> None:
        self._clock, self._ahead_seconds, self._rate = clock, ahead_seconds, 1 + drift_ppm / 1e6

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._clock.monotonic() * self._rate

    def utc(self) -> datetime:
        """See `Clock.utc`."""
        return EPOCH + timedelta(seconds=self.monotonic() + self._ahead_seconds)


class SimClock:
    """The clock port, and the queue of what is due. Times in seconds since the simulation began."""

    def __init__(self) -> None:
        self._now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return self._now

    def utc(self) -> datetime:
        """See `Clock.utc`."""
        return EPOCH + timedelta(seconds=self._now)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call it at that time; what is due at the same moment is called in the order in which it was asked for."""
        heapq.heappush(self._queue, (max(when, self._now), next(self._order), call))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it in so many seconds."""
        self.at(self._now + seconds, call)

    def run_until(self, when: float, after_each: Callable[[], None]) -> None:
        """Do all that is due up to that time, and look around (`after_each`) after each."""
        while self._queue and self._queue[0][0] <= when:
            self._now, _, call = heapq.heappop(self._queue)
            call()
            after_each()
        self._now = max(self._now, when)
