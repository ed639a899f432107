"""The state as software of the version before sees it, for clusters in the middle of a rolling upgrade.

What it does not know it does not read, and it leaves it as it is when it saves a row: it names in its UPDATE the
columns that it knows, and merges nested values instead of replacing them. In memory that is: a field that is not in
`KNOWN` reads as its default and keeps what was stored. A kind that is not in `KNOWN` is new as a whole.

`KNOWN` is the first state there was. With the first release it becomes the state of the last release.
"""

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, replace
from functools import cache
from typing import Any

from app.adapters.sim.store import KINDS
from app.ports.store import Page


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


KNOWN: dict[str, frozenset[str]] = {
    "vms": _names(
        """id name project_id plan cores memory_mib disk_gib image pool created desired stop_mode locked node generation
        priority resets_wanted reset_mode observed unplaced_reason incident_id failed_nodes labels user_data
        migrating_to
        migration"""
    ),
    "nodes": _names(
        "id name address role state memory_mib cores rack maintenance watchdog_seconds boot_id health placements "
        "evacuating"
    ),
    "incidents": _names("id node phase opened_at closed_at proof outcome steps"),
    "epochs": _names("id epoch holder since writes"),
    "settings": _names("id"),
}


@cache
def new_fields(kind: str) -> dict[str, Any]:
    """The fields of a kind that the version before does not know, with their defaults."""
    if kind not in KNOWN:
        return {}
    return {f.name: _default(f) for f in fields(KINDS[kind]) if f.name not in KNOWN[kind]}


def _default(field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    assert field.default_factory is not MISSING, f"{field.name} is new and has no default: an older row has no value"
    return field.default_factory()


class OutdatedRows:
    """The rows of one kind, without what is new of them."""

    def __init__(self, rows: Any, new: dict[str, Any]) -> None:
        self._rows, self._new = rows, new

    def get(self, row_id: int) -> Any:
        """See `Rows.get`."""
        row = self._rows.get(row_id)
        return None if row is None else replace(row, **self._new)

    def where(self, **equals: object) -> Sequence[Any]:
        """See `Rows.where`."""
        return [replace(row, **self._new) for row in self._rows.where(**equals)]

    def page(self, **how: Any) -> Page[Any]:
        """See `Rows.page`."""
        page = self._rows.page(**how)
        return Page([replace(row, **self._new) for row in page.rows], page.total)

    def add(self, row: Any) -> Any:
        """See `Rows.add`."""
        return self._rows.add(row)

    def save(self, row: Any) -> None:
        """See `Rows.save`."""
        stored = self._rows.get(row.id)
        self._rows.save(replace(row, **{name: getattr(stored, name) for name in self._new}) if stored else row)

    def remove(self, row_id: int) -> None:
        """See `Rows.remove`."""
        self._rows.remove(row_id)


class OutdatedTransaction:
    """A transaction of the version before."""

    def __init__(self, tx: Any) -> None:
        self._tx = tx

    def __getattr__(self, kind: str) -> Any:
        rows, new = getattr(self._tx, kind), new_fields(kind)
        return OutdatedRows(rows, new) if new else rows


def as_outdated(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same work by software of the version before."""
    return lambda tx: work(OutdatedTransaction(tx))
