"""A watchdog that is looked at: how close did it come to resetting this node?"""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from app.ports.watchdog import Watchdog

#: longer than the time between two scrapes, so that none misses a narrow escape
WINDOW_SECONDS = 60.0


class MeasuredWatchdog:
    """Feeds the real one, and remembers the longest times between feeds."""

    def __init__(self, watchdog: Watchdog, monotonic: Callable[[], float]) -> None:
        self._watchdog = watchdog
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._fed_at: float | None = None
        self._gaps: deque[tuple[float, float]] = deque()

    @property
    def timeout_seconds(self) -> float | None:
        """As of the real one."""
        return self._watchdog.timeout_seconds

    def feed(self) -> None:
        """First the device, then the notes."""
        self._watchdog.feed()
        with self._lock:
            now = self._monotonic()
            if self._fed_at is not None:
                self._note(now, now - self._fed_at)
            self._fed_at = now

    def disarm(self) -> None:
        """As of the real one; nothing is measured after it."""
        self._watchdog.disarm()
        with self._lock:
            self._fed_at = None

    def metrics(self) -> Sequence[Metric]:
        """Timeout and margin; nothing where there is no watchdog, no margin before the first feed."""
        if self.timeout_seconds is None:
            return ()
        found = [
            _gauge(
                "holdfast_watchdog_timeout_seconds", "Timeout of this node's watchdog, in seconds", self.timeout_seconds
            )
        ]
        with self._lock:
            if self._fed_at is not None:
                now = self._monotonic()
                self._note(now, 0.0)
                longest = max(now - self._fed_at, *(gap for _, gap in self._gaps))
                text = "Least time that was left to this node's watchdog in the last minute, in seconds"
                found.append(_gauge("holdfast_watchdog_margin_seconds", text, self.timeout_seconds - longest))
        return found

    def _note(self, now: float, gap: float) -> None:
        """Gaps fall from left to right: a shorter one that is older can never be the longest again."""
        while self._gaps and self._gaps[-1][1] <= gap:
            self._gaps.pop()
        self._gaps.append((now, gap))
        while now - self._gaps[0][0] > WINDOW_SECONDS:
            self._gaps.popleft()


def _gauge(name: str, says: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, says)
    family.add_metric((), value)
    return family
