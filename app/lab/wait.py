"""Wait for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.lab.errors import LabError


def wait_until(condition: Callable[[], bool], timeout_seconds: float, what: str, every_seconds: float = 0.05) -> None:
    """Errors: LabError naming `what` when the deadline passes."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout_seconds:g} s for {what}")
        time.sleep(every_seconds)
