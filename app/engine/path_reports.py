"""The storage paths of a node, as its plugins see them, written into the state."""

from collections.abc import Sequence

from app.ports.clock import Clock
from app.ports.network import PathReport, PathWatch
from app.ports.store import Store
from app.services.report_paths import changed, report_paths


class PathReporter:
    """Writes the storage paths of this node into the state when they differ from what was written last."""

    def __init__(self, node: str, store: Store, clock: Clock, watches: Sequence[PathWatch]) -> None:
        self._node, self._store, self._clock, self._watches = node, store, clock, watches
        self._written: list[PathReport] | None = None

    def __call__(self) -> None:
        """One look; an error leaves what was written last as it is, and the next look tries again."""
        reports = [r for w in self._watches for r in w.reports()]
        if self._written is not None and not changed(self._written, reports):
            return
        now = self._clock.utc()
        self._store.run(lambda tx: report_paths(tx, self._node, reports, now))
        self._written = reports
