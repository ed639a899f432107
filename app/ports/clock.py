"""Time. Decisions get it as a value; only shells read a clock."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one for differences, one for records."""

    def monotonic(self) -> float:
        """Seconds that never jump and go on while the process is stopped."""

    def utc(self) -> datetime:
        """The time of day, aware, in UTC."""
