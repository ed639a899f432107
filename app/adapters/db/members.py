"""Which database to ask: the preferred one while it answers, else the next; and back, once it really answers again."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from app.adapters.db.engines import open_engine

#: how long a fallback is used before the preferred database is probed; doubles while the probe fails
RETURN_SECONDS_MIN = 5.0
RETURN_SECONDS_MAX = 60.0
PROBE_SECONDS = 1


@dataclass(frozen=True)
class Member:
    """One database of those that hold the same state. `place` 0 is the preferred one."""

    place: int
    url: str
    engine: Engine


class Members:
    """The databases in the order of the configuration. Thread-safe."""

    def __init__(self, urls: Sequence[str], monotonic: Callable[[], float] = time.monotonic) -> None:
        if not urls:
            raise ValueError("no database is configured")
        self._members = [Member(place, url, open_engine(url)) for place, url in enumerate(urls)]
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._current = 0
        self._return_at = 0.0
        self._return_seconds = RETURN_SECONDS_MIN

    def in_order(self) -> Iterator[Member]:
        """All members, each once, beginning with the one that worked last."""
        self._return_to_preferred()
        first = self._current
        for turn in range(len(self._members)):
            yield self._members[(first + turn) % len(self._members)]

    def worked(self, member: Member) -> None:
        """Ask this one first from now on."""
        with self._lock:
            if self._current != member.place:
                self._use(member.place)

    def failed(self, member: Member) -> None:
        """Ask the next one first from now on, if this one was the first."""
        with self._lock:
            if self._current == member.place and len(self._members) > 1:
                self._use((member.place + 1) % len(self._members))

    def close(self) -> None:
        """Give up all connections."""
        for member in self._members:
            member.engine.dispose()

    def _use(self, place: int) -> None:
        self._current = place
        self._return_at = self._monotonic() + self._return_seconds

    def _return_to_preferred(self) -> None:
        """One thread probes, with a time-out of its own: a member that hangs may not delay all of us each time."""
        with self._lock:
            now = self._monotonic()
            if self._current == 0 or now < self._return_at:
                return
            self._return_at = now + self._return_seconds
        answers = _answers(self._members[0])
        with self._lock:
            if answers:
                self._current = 0
                self._return_seconds = RETURN_SECONDS_MIN
            else:
                self._return_seconds = min(self._return_seconds * 2, RETURN_SECONDS_MAX)
                self._return_at = self._monotonic() + self._return_seconds


def _answers(member: Member) -> bool:
    """A read of a real table: a member outside of the primary component refuses it, one that lags makes it wait."""
    engine = open_engine(member.url, answer_seconds=PROBE_SECONDS, pooled=False)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT COUNT(*) FROM epochs")).scalar_one()
    except SQLAlchemyError:
        return False
    finally:
        engine.dispose()
    return True
