"""Operators are reminded once of automation that stays disarmed: who did it for an hour's work may have gone home."""

from datetime import datetime

from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.epoch import hold_epoch
from app.services.load_view import current_settings

KIND = "cluster.still_disarmed"


def remind_disarmed(tx: Transaction, epoch: int, after_seconds: float, now: datetime) -> bool:
    """True if it was told now. The coordinator's write: StaleEpoch when another leads by now."""
    settings = current_settings(tx)
    since = settings.disarmed_at
    if settings.armed or since is None or (now - since).total_seconds() < after_seconds:
        return False
    told = tx.events.page(page=1, per_page=1, sort="id", descending=True, kind=KIND).rows
    if told and told[0].at >= since:
        return False
    hold_epoch(tx, epoch)
    hours = (now - since).total_seconds() / 3600
    text = f"disarmed since {since:%F %T} UTC ({hours:.1f} h) by {settings.disarmed_by}: {settings.disarmed_reason}"
    tx.events.add(ClusterEvent(0, now, KIND, text))
    emit_event(tx, KIND, {"by": settings.disarmed_by, "since": since.isoformat(), "text": text}, now)
    return True
