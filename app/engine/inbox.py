"""Where every callback and every finished piece of work leaves its facts. Bounded, thread-safe, drained in one go."""

import threading
from collections import deque
from collections.abc import Sequence

from app.domain.events import DomainChanged, Event, SignalReceived


class Inbox:
    """Facts that the cores can do without (they look again by themselves) are dropped when it is full; others never."""

    def __init__(self, soft_limit: int = 10_000) -> None:
        self._events: deque[Event] = deque()
        self._soft_limit = soft_limit
        self._ready = threading.Condition()
        self.dropped = 0

    def put(self, event: Event) -> None:
        """From any thread; never blocks on the loop."""
        with self._ready:
            if len(self._events) >= self._soft_limit and isinstance(event, SignalReceived | DomainChanged):
                self.dropped += 1
                return
            self._events.append(event)
            self._ready.notify()

    def put_all(self, events: Sequence[Event]) -> None:
        """Several at once, in their order."""
        for event in events:
            self.put(event)

    def drain(self, timeout_seconds: float = 0.0) -> tuple[Event, ...]:
        """All that is there; waits up to the timeout for the first."""
        with self._ready:
            if not self._events and timeout_seconds > 0:
                self._ready.wait(timeout_seconds)
            events = tuple(self._events)
            self._events.clear()
            return events
