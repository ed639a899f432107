"""The machine's clocks."""

import time
from datetime import UTC, datetime


class SystemClock:
    """CLOCK_BOOTTIME for differences: it goes on while the machine sleeps, as its VMs' leases do."""

    def monotonic(self) -> float:
        """Seconds since boot."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def utc(self) -> datetime:
        """Now, aware."""
        return datetime.now(UTC)
