"""Work beside the agent's loop that may take its time: deliveries, path reports. Never on the loop's own thread."""

import threading
from collections.abc import Callable

import structlog

from app.ports.store import StoreUnavailable

log = structlog.get_logger(__name__)


class Periodic:
    """Calls `work` every interval in a thread of its own, for the first time after `first_seconds` (an interval).

    A failure is logged and tried again next time.
    """

    def __init__(
        self, name: str, interval_seconds: float, work: Callable[[], object], *, first_seconds: float | None = None
    ) -> None:
        self._name = name
        self._first_seconds = interval_seconds if first_seconds is None else first_seconds
        self._interval_seconds = interval_seconds
        self._work = work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"holdfast-{name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present round; does not wait longer than a few seconds for it."""
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        wait = self._first_seconds
        while not self._stop.wait(wait):
            wait = self._interval_seconds
            try:
                self._work()
            except StoreUnavailable as error:
                log.warning("database unavailable", work=self._name, error=str(error))
            except Exception:
                log.exception("failed, will be tried again", work=self._name)
