"""The state in memory: the same port as the database, for the simulator and for unit tests.

One transaction at a time works on a copy of what it touches; an exception throws the copy away. Uniqueness is that
of the tables. `unavailable` makes every transaction fail, as a member outside of the primary component does.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

from app.domain.cluster import Incident
from app.domain.errors import NameTaken
from app.domain.node import Node
from app.domain.records import (
    ApiAction,
    AuditEntry,
    ClusterEvent,
    Epoch,
    IdempotencyRecord,
    Image,
    NodePath,
    OutboxMessage,
    Plan,
    Project,
    Token,
    WebhookEndpoint,
)
from app.domain.vm import Vm
from app.ports.store import Page, StoreUnavailable

T = TypeVar("T")
R = TypeVar("R")

#: kind -> fields that must be unique together; the tables in adapters/db/tables.py have the same
UNIQUE: dict[type, tuple[tuple[str, ...], ...]] = {
    Vm: (("project_id", "name"),),
    Node: (("name",),),
    Token: (("sha256",),),
    Plan: (("name",),),
    Image: (("name",),),
    Project: (("name",),),
    IdempotencyRecord: (("project_id", "key"),),
    OutboxMessage: (("endpoint_id", "webhook_id"),),
    NodePath: (("node", "target", "name"),),
}


class MemoryRows(Generic[R]):
    """The rows of one kind in one transaction: reads fall through to what is committed, writes stay here."""

    def __init__(self, kind: type[R], committed: dict[int, R], last_id: int) -> None:
        self._kind = kind
        self._committed = committed
        self.changed: dict[int, R | None] = {}
        self.last_id = last_id

    def _all(self) -> Iterable[R]:
        if not self.changed:
            return self._committed.values()
        merged: dict[int, R | None] = {**self._committed, **self.changed}
        return [merged[k] for k in sorted(merged) if merged[k] is not None]  # type: ignore[misc]

    def get(self, row_id: int) -> R | None:
        """See `Rows.get`."""
        return self.changed[row_id] if row_id in self.changed else self._committed.get(row_id)

    def where(self, **equals: object) -> Sequence[R]:
        """See `Rows.where`."""
        self._check(equals)
        tests = [(k, v if isinstance(v, tuple | list) else (v,)) for k, v in equals.items()]
        return [r for r in self._all() if all(getattr(r, k) in wanted for k, wanted in tests)]

    def page(
        self, *, page: int, per_page: int, sort: str = "id", descending: bool = False, **equals: object
    ) -> Page[R]:
        """See `Rows.page`."""
        self._check({sort: None})
        rows = sorted(self.where(**equals), key=lambda r: r.id, reverse=descending)  # type: ignore[attr-defined]
        rows.sort(key=lambda r: (getattr(r, sort) is not None, getattr(r, sort)), reverse=descending)
        return Page(rows[(page - 1) * per_page : page * per_page], len(rows))

    def add(self, row: R) -> R:
        """See `Rows.add`."""
        self.last_id += 1
        stored: R = replace(row, id=self.last_id)  # type: ignore[type-var]
        self._unique(stored)
        self.changed[self.last_id] = stored
        return stored

    def save(self, row: R) -> None:
        """See `Rows.save`."""
        row_id: int = row.id  # type: ignore[attr-defined]
        if self.get(row_id) is None:
            raise KeyError(f"no {self._kind.__name__} with id {row_id}")
        self._unique(row)
        self.changed[row_id] = row

    def remove(self, row_id: int) -> None:
        """See `Rows.remove`."""
        if self.get(row_id) is not None:
            self.changed[row_id] = None

    def _check(self, names: dict[str, object]) -> None:
        known = {f.name for f in fields(self._kind)}  # type: ignore[arg-type]
        if unknown := set(names) - known:
            raise ValueError(f"{self._kind.__name__} has no field {', '.join(sorted(unknown))}")

    def _unique(self, row: R) -> None:
        for names in UNIQUE.get(self._kind, ()):
            same = {n: getattr(row, n) for n in names}
            if any(other.id != row.id for other in self.where(**same)):  # type: ignore[attr-defined]
                said = ", ".join(f"{n} {v!r}" for n, v in same.items())
                raise NameTaken(f"{self._kind.__name__} with {said} exists already")


@dataclass
class _Table:
    rows: dict[int, Any]
    last_id: int = 0


#: attribute of a Transaction -> kind of its rows
KINDS: dict[str, type] = {
    "vms": Vm, "nodes": Node, "incidents": Incident, "projects": Project, "tokens": Token, "plans": Plan,
    "images": Image, "actions": ApiAction, "idempotency": IdempotencyRecord, "endpoints": WebhookEndpoint,
    "outbox": OutboxMessage, "epochs": Epoch, "events": ClusterEvent, "paths": NodePath, "audit": AuditEntry,
}  # fmt: skip


class MemoryTransaction:
    """All kinds of rows; made on first use."""

    def __init__(self, tables: dict[str, _Table]) -> None:
        self._tables = tables
        self._open: dict[str, MemoryRows[Any]] = {}

    def __getattr__(self, name: str) -> MemoryRows[Any]:
        if name not in KINDS:
            raise AttributeError(name)
        if name not in self._open:
            table = self._tables[name]
            self._open[name] = MemoryRows(KINDS[name], table.rows, table.last_id)
        return self._open[name]

    def commit(self) -> None:
        """Make the changes everybody's."""
        for name, rows in self._open.items():
            table = self._tables[name]
            table.last_id = rows.last_id
            for row_id, row in rows.changed.items():
                if row is None:
                    table.rows.pop(row_id, None)
                else:
                    table.rows[row_id] = row


class MemoryStore:
    """Several views of one memory can be had by `member`: each with its own `unavailable`."""

    def __init__(self, tables: dict[str, _Table] | None = None, lock: threading.RLock | None = None) -> None:
        self._tables = tables if tables is not None else {name: _Table({}) for name in KINDS}
        self._lock = lock or threading.RLock()
        self.unavailable = False
        if tables is None:
            # The epoch row is there from the start, as the first migration puts it into the database.
            self._tables["epochs"] = _Table({1: Epoch(1, 0, "")}, 1)

    def member(self) -> "MemoryStore":
        """Another access to the same rows, as another member of the database."""
        return MemoryStore(self._tables, self._lock)

    def run(self, work: Callable[[Any], T]) -> T:
        """See `Store.run`."""
        if self.unavailable:
            raise StoreUnavailable("this member of the database is not part of the primary component")
        with self._lock:
            tx = MemoryTransaction(self._tables)
            result = work(tx)
            tx.commit()
            return result
