"""The watchdog port over a clock that the caller turns."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class SimWatchdog:
    """Armed when made. `expired()` says when the node must be reset; it stays so, as a reset cannot be undone."""

    now: Callable[[], float]
    timeout_seconds: float | None
    feeds: int = 0
    armed: bool = True
    _deadline: float = field(init=False)
    _expired: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._deadline = self._next()

    def feed(self) -> None:
        if not self.expired():
            self.feeds += 1
            self._deadline = self._next()

    def disarm(self) -> None:
        if not self.expired():
            self.armed = False

    def expired(self) -> bool:
        """True from the moment the timeout passed without a feed."""
        self._expired = self._expired or (self.armed and self.now() >= self._deadline)
        return self._expired

    @property
    def deadline(self) -> float:
        """When it expires unless it is fed before; infinite without a watchdog."""
        return self._deadline

    def _next(self) -> float:
        return float("inf") if self.timeout_seconds is None else self.now() + self.timeout_seconds
