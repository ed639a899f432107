"""An agent tells how the fence devices of the others answered it: long before one is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.records import ClusterEvent, FenceCheck
from app.ports.store import Transaction
from app.services.emit_event import emit_event


@dataclass(frozen=True, slots=True)
class FenceAnswer:
    """How the devices of a node answered for one method. They work when their state could be read, on or off."""

    node: str
    method: str
    works: bool
    said: str


def report_fence_checks(
    tx: Transaction, me: str, answers: Sequence[FenceAnswer], counts_seconds: float, now: datetime
) -> None:
    """Write what was read from here. A device that stops working is told once, though all nodes check it.

    What another node read counts against that only for `counts_seconds`: it may be dead itself.
    """
    known = {(c.node, c.method): c for c in tx.fence_checks.where(checked_from=me)}
    for answer in answers:
        old = known.pop((answer.node, answer.method), None)
        same = old is not None and old.works == answer.works
        row = FenceCheck(
            old.id if old else 0, answer.node, answer.method, me, answer.works, answer.said,
            now, old.since if old is not None and same else now,
        )  # fmt: skip
        if old is None:
            tx.fence_checks.add(row)
        else:
            tx.fence_checks.save(row)
        stopped_or_mended = not same and (old is not None or not answer.works)
        if stopped_or_mended and not _fails_elsewhere(tx, row, now - timedelta(seconds=counts_seconds)):
            _tell(tx, row, now)
    for gone in known.values():
        tx.fence_checks.remove(gone.id)


def _fails_elsewhere(tx: Transaction, row: FenceCheck, not_before: datetime) -> bool:
    others = tx.fence_checks.where(node=row.node, method=row.method, works=False)
    return any(o.checked_from != row.checked_from and o.checked_at >= not_before for o in others)


def _tell(tx: Transaction, row: FenceCheck, now: datetime) -> None:
    kind = "fence_device.recovered" if row.works else "fence_device.failed"
    word = "works again" if row.works else f"does not work: {row.said}"
    text = f"the fence device {row.method} of {row.node}, read from {row.checked_from}, {word}"
    tx.events.add(ClusterEvent(0, now, kind, text, node=row.node))
    data = {"node": row.node, "method": row.method, "checked_from": row.checked_from, "said": row.said}
    emit_event(tx, kind, data, now)
