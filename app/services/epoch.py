"""The coordinator's fencing token: one row, one holder, and every write of the coordinator touches it.

Touching matters: Galera certifies what is *written*. A stale coordinator that only read the old epoch would commit;
one that writes the row collides with the take-over and is refused.
"""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import Conflict, StaleEpoch
from app.domain.records import Epoch
from app.ports.store import Transaction

ROW_ID = 1


def current_epoch(tx: Transaction) -> Epoch:
    """The row, which the first migration makes: epoch 0 without a holder before the first campaign ever."""
    row = tx.epochs.get(ROW_ID)
    if row is None:
        raise KeyError("the epoch row is missing: the database was not made by `holdfast db upgrade`")
    return row


def win_epoch(tx: Transaction, me: str, now: datetime) -> int:
    """Take the next epoch for `me` and return it. Of two at once the database lets one through at a time."""
    row = current_epoch(tx)
    tx.epochs.save(Epoch(ROW_ID, row.epoch + 1, me, now, row.writes + 1))
    return row.epoch + 1


def hold_epoch(tx: Transaction, epoch: int) -> None:
    """First line of every coordinator's write: StaleEpoch unless `epoch` is still the newest."""
    row = current_epoch(tx)
    if row.epoch != epoch:
        raise StaleEpoch(f"epoch {epoch} is over: {row.holder} holds {row.epoch}")
    tx.epochs.save(replace(row, writes=row.writes + 1))


def hold_armed_epoch(tx: Transaction, epoch: int) -> None:
    """The same for what automation decides: Conflict while an operator has disarmed the cluster."""
    hold_epoch(tx, epoch)
    settings = tx.settings.get(ROW_ID)
    if settings is not None and not settings.armed:
        raise Conflict(f"automation is disarmed by {settings.disarmed_by}: {settings.disarmed_reason}")
