"""Where blocking work runs, so that the loop that feeds the watchdog never blocks."""

from collections.abc import Callable, Sequence
from typing import Protocol

from app.domain.events import Event


class Workers(Protocol):
    """Runs work off the loop. Lanes are independent: a stuck fence does not hold up a start."""

    def submit(self, lane: str, work: Callable[[], Sequence[Event]]) -> None:
        """Run `work` in that lane and put its events into the inbox. Work never raises."""
