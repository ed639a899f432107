"""What a request writes carries the request's correlation id: one place, so that no route can forget it.

From there it goes with the VM: to its node's agent, into that agent's log, and into the domain's metadata. A recovery
writes `incident-17` instead. So one word finds a customer's request, what it changed, and what became of it.
"""

from dataclasses import replace
from typing import Any, cast

from app.ports.store import Transaction

#: kinds whose new rows say which request made them; of a VM also which one changed it last
_ADDED = ("actions", "events", "vms")
_SAVED = ("vms",)


class _StampedRows:
    """Rows of one kind. All but `add` and `save` is as it was."""

    def __init__(self, rows: Any, correlation_id: str, *, saves: bool) -> None:
        self._rows, self._correlation_id, self._saves = rows, correlation_id, saves

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    def add(self, row: Any) -> Any:
        """See `Rows.add`."""
        return self._rows.add(replace(row, correlation_id=self._correlation_id))

    def save(self, row: Any) -> None:
        """See `Rows.save`."""
        self._rows.save(replace(row, correlation_id=self._correlation_id) if self._saves else row)


class _StampedTransaction:
    def __init__(self, tx: Transaction, correlation_id: str) -> None:
        self._tx, self._correlation_id = tx, correlation_id

    def __getattr__(self, name: str) -> Any:
        rows = getattr(self._tx, name)
        return _StampedRows(rows, self._correlation_id, saves=name in _SAVED) if name in _ADDED else rows


def stamped(tx: Transaction, correlation_id: str) -> Transaction:
    """The same transaction, whose new actions, events and VMs name the request."""
    return cast(Transaction, _StampedTransaction(tx, correlation_id))
