"""A machine whose reboot is what the test or the simulator says."""

from collections.abc import Callable

from app.ports.machine import RebootRefused


class SimMachine:
    """`refuses`: why it does not reboot, empty when it does."""

    def __init__(self, reboots: Callable[[], None] = lambda: None) -> None:
        self._reboots = reboots
        self.refuses = ""
        self.reboots = 0

    def reboot(self) -> None:
        """See `Machine.reboot`."""
        if self.refuses:
            raise RebootRefused(self.refuses)
        self.reboots += 1
        self._reboots()
