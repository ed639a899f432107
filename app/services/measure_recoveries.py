"""How long recoveries took, step by step, as a histogram over all that the state keeps.

A closed incident changes no more, so each is read once by a process; a scrape reads the newest page and what was open.
"""

from itertools import pairwise

from prometheus_client.core import HistogramMetricFamily, Metric

from app.domain.cluster import Incident, IncidentPhase
from app.ports.store import Transaction

#: seconds; a recovery by power fencing takes a few, one by the watchdog's time some more, a mass failure minutes
BUCKETS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
STEPS = ("fence", "plan", "start", "total")
_PER_PAGE = 50


class RecoveryTimes:
    """Durations of the closed recoveries that were seen so far: node lost -> fenced -> planned -> all VMs up."""

    def __init__(self) -> None:
        self._seen: dict[int, dict[str, float]] = {}

    def measure(self, tx: Transaction) -> list[Metric]:
        """The histograms, after a look at what is new. Pure but for what it remembers, so a repeat does no harm."""
        number = 1
        while True:
            page = tx.incidents.page(
                page=number, per_page=_PER_PAGE, sort="closed_at", descending=True, phase=IncidentPhase.CLOSED
            )
            new = [row for row in page.rows if row.id not in self._seen]
            self._seen |= {row.id: durations(row) for row in new}
            if not new or len(page.rows) < _PER_PAGE:
                break
            number += 1
        family = HistogramMetricFamily(
            "holdfast_recovery_step_seconds", "Time that a recovery took, by step, in seconds", labels=("step",)
        )
        for step in STEPS:
            values = [took[step] for took in self._seen.values() if step in took]
            buckets = [(f"{edge:g}", float(sum(v <= edge for v in values))) for edge in BUCKETS]
            family.add_metric((step,), [*buckets, ("+Inf", float(len(values)))], sum_value=sum(values))
        return [family]


def durations(incident: Incident) -> dict[str, float]:
    """Seconds of each step; none for a node that came back before it was fenced, for nothing was recovered."""
    at = {step.what: step.at for step in incident.steps if step.what in ("detected", "fenced", "planned")}
    if incident.closed_at is None or len(at) < 3:
        return {}
    marks = (at["detected"], at["fenced"], at["planned"], incident.closed_at)
    parts = [max(0.0, (b - a).total_seconds()) for a, b in pairwise(marks)]
    return dict(zip(STEPS, (*parts, max(0.0, (marks[3] - marks[0]).total_seconds())), strict=True))
