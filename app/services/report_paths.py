"""An agent tells how its storage paths are."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.records import ClusterEvent, NodePath
from app.ports.network import PathReport
from app.ports.store import Transaction
from app.services.emit_event import emit_event


def report_paths(tx: Transaction, node: str, reports: Sequence[PathReport], now: datetime) -> None:
    """Write what differs; a switch becomes an event for operators and billing."""
    known = {(p.target, p.name): p for p in tx.paths.where(node=node)}
    for report in reports:
        old = known.pop((report.target, report.name), None)
        row = NodePath(
            old.id if old else 0, node, report.target, report.name, report.up, report.active,
            now, report.reason, report.latency_ms,
        )  # fmt: skip
        if old is None:
            tx.paths.add(row)
        elif (old.up, old.active, old.reason) != (row.up, row.active, row.reason):
            tx.paths.save(row)
        if old is not None and row.active and not old.active:
            text = f"{node}: {report.target} is reached through {report.name} now"
            tx.events.add(ClusterEvent(0, now, "path.switched", text, node=node))
            data = {"node": node, "target": report.target, "path": report.name}
            emit_event(tx, "path.switched", data, now)
        elif old is not None and old.up != row.up:
            word = "works" if row.up else f"is down: {report.reason}"
            tx.events.add(ClusterEvent(0, now, "path.state", f"{node}: path {report.name} {word}", node=node))
    for gone in known.values():
        tx.paths.remove(gone.id)


def changed(before: Sequence[PathReport], after: Sequence[PathReport]) -> bool:
    """True when there is something to write: latency alone is not."""
    return [replace(r, latency_ms=None) for r in before] != [replace(r, latency_ms=None) for r in after]
