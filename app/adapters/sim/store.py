"""The state in memory: the same port as the database, for the simulator and for unit tests.

One transaction at a time works on a copy of what it touches; an exception throws the copy away. Uniqueness is that
of the tables, kept in an index for each. What goes wrong with a real database can be asked for: see `MemoryStore`.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from app.domain.cluster import Incident
from app.domain.cluster_settings import ClusterSettings
from app.domain.errors import Conflict, NameTaken
from app.domain.layout import Layout
from app.domain.node import Node
from app.domain.placement_group import PlacementGroup
from app.domain.records import (
    ApiAction,
    AuditEntry,
    ClusterEvent,
    Epoch,
    FenceCheck,
    IdempotencyRecord,
    Image,
    NodePath,
    OutboxMessage,
    Plan,
    Project,
    Token,
    WebhookEndpoint,
)
from app.domain.rolling_run import RollingRun
from app.domain.vm import Vm
from app.ports.store import Page, StoreUnavailable, plain_fields

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
    FenceCheck: (("node", "method", "checked_from"),),
    PlacementGroup: (("project_id", "name"),),
}

#: as many tries as the database's unit of work makes
TRIES_MAX = 20


@cache
def _times(kind: type) -> tuple[Callable[[Any], datetime | tuple[datetime, ...] | None], ...]:
    """What reads the times of a kind, those of nested values included; a tuple of them is read as one."""
    return tuple(attrgetter(name) for name in _time_names(kind))


def _time_names(kind: type) -> list[str]:
    names: list[str] = []
    for name, hint in get_type_hints(kind).items():
        if datetime in (hint, *get_args(hint)):
            names.append(name)
        elif isinstance(hint, type) and is_dataclass(hint):
            names += [f"{name}.{inner}" for inner in _time_names(hint)]
    return names


@dataclass
class _Table:
    """The committed rows, in the order of their ids, and for each unique key (see UNIQUE) who has which value."""

    kind: type
    rows: dict[int, Any] = field(default_factory=dict)
    last_id: int = 0
    keys: list[Callable[[Any], Any]] = field(init=False)
    taken: list[dict[Any, int | None]] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = [attrgetter(*names) for names in UNIQUE.get(self.kind, ())]
        self.taken = [{key(row): row.id for row in self.rows.values()} for key in self.keys]

    def replace(self, rows: dict[int, Any | None], taken: list[dict[Any, int | None]]) -> None:
        """Apply a transaction's changes; None is a row or a key that is gone."""
        for mine, theirs in ((self.rows, rows), *zip(self.taken, taken, strict=True)):
            for key, value in theirs.items():
                if value is None:
                    mine.pop(key, None)
                else:
                    mine[key] = value


class MemoryRows(Generic[R]):
    """The rows of one kind in one transaction: reads fall through to what is committed, writes stay here."""

    def __init__(self, table: _Table) -> None:
        self._table = table
        self._kind: type = table.kind
        self._committed: dict[int, R] = table.rows
        self.changed: dict[int, R | None] = {}
        self.taken: list[dict[Any, int | None]] = [{} for _ in table.keys]
        self.last_id = table.last_id

    def _all(self) -> list[R]:
        if not self.changed:
            return list(self._committed.values())
        kept = [self.changed.get(row_id, row) for row_id, row in self._committed.items()]
        new = [row for row_id, row in self.changed.items() if row_id not in self._committed]
        return [row for row in kept + new if row is not None]

    def get(self, row_id: int) -> R | None:
        """See `Rows.get`."""
        return self.changed[row_id] if row_id in self.changed else self._committed.get(row_id)

    def where(self, **equals: object) -> Sequence[R]:
        """See `Rows.where`."""
        self._check(equals)
        rows = self._all()
        for name, wanted in equals.items():
            value = attrgetter(name)
            if isinstance(wanted, tuple | list):
                rows = [row for row in rows if value(row) in wanted]
            else:
                rows = [row for row in rows if value(row) == wanted]
        return rows

    def page(
        self, *, page: int, per_page: int, sort: str = "id", descending: bool = False, **equals: object
    ) -> Page[R]:
        """See `Rows.page`."""
        self._check({sort: None})
        rows = sorted(self.where(**equals), key=attrgetter("id"), reverse=descending)
        rows.sort(key=lambda r: (getattr(r, sort) is not None, getattr(r, sort)), reverse=descending)
        return Page(rows[(page - 1) * per_page : page * per_page], len(rows))

    def add(self, row: R) -> R:
        """See `Rows.add`."""
        stored: R = replace(row, id=self.last_id + 1)  # type: ignore[type-var]
        self._take_keys(None, stored)
        self.last_id += 1
        self.changed[self.last_id] = stored
        return stored

    def save(self, row: R) -> None:
        """See `Rows.save`."""
        row_id: int = row.id  # type: ignore[attr-defined]
        before = self.get(row_id)
        if before is None:
            raise KeyError(f"no {self._kind.__name__} with id {row_id}")
        self._take_keys(before, row)
        self.changed[row_id] = row

    def remove(self, row_id: int) -> None:
        """See `Rows.remove`."""
        before = self.get(row_id)
        if before is not None:
            for key, taken in zip(self._table.keys, self.taken, strict=True):
                taken[key(before)] = None
            self.changed[row_id] = None

    def _check(self, names: dict[str, object]) -> None:
        if unknown := names.keys() - plain_fields(self._kind):
            raise ValueError(f"{self._kind.__name__} has no field {', '.join(sorted(unknown))} to ask for")

    def _take_keys(self, before: R | None, after: R) -> None:
        for time in _times(self._kind):
            value = time(after)
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None and one.tzinfo is None:
                    raise ValueError(f"{one!r} has no time zone")
        row_id: int = after.id  # type: ignore[attr-defined]
        keys = [(key(before) if before is not None else None, key(after)) for key in self._table.keys]
        for place, (_, new) in enumerate(keys):
            mine = self.taken[place]
            holder = mine[new] if new in mine else self._table.taken[place].get(new)
            if holder not in (None, row_id):
                said = ", ".join(f"{name} {getattr(after, name)!r}" for name in UNIQUE[self._kind][place])
                raise NameTaken(f"{self._kind.__name__} with {said} exists already")
        for taken, (old, new) in zip(self.taken, keys, strict=True):
            if old is not None and old != new:
                taken[old] = None
            taken[new] = row_id


@dataclass(frozen=True, slots=True)
class Change:
    """One row of one kind (`vms`, `nodes`, ...) before and after a transaction; None where there is none."""

    kind: str
    before: Any
    after: Any


#: attribute of a Transaction -> kind of its rows
KINDS: dict[str, type] = {
    "vms": Vm, "nodes": Node, "incidents": Incident, "projects": Project, "tokens": Token, "plans": Plan,
    "images": Image, "actions": ApiAction, "idempotency": IdempotencyRecord, "endpoints": WebhookEndpoint,
    "outbox": OutboxMessage, "epochs": Epoch, "events": ClusterEvent, "paths": NodePath, "audit": AuditEntry,
    "groups": PlacementGroup, "settings": ClusterSettings, "layouts": Layout, "rollings": RollingRun,
    "fence_checks": FenceCheck,
}  # fmt: skip


@dataclass
class _Memory:
    """What all members share."""

    tables: dict[str, _Table]
    lock: threading.RLock = field(default_factory=threading.RLock)
    at_work: bool = False


class MemoryTransaction:
    """All kinds of rows; made on first use."""

    def __init__(self, tables: dict[str, _Table]) -> None:
        self._tables = tables
        self._open: dict[str, MemoryRows[Any]] = {}

    def __getattr__(self, name: str) -> MemoryRows[Any]:
        if name not in KINDS:
            raise AttributeError(name)
        if name not in self._open:
            self._open[name] = MemoryRows(self._tables[name])
        return self._open[name]

    def commit(self) -> list[Change]:
        """Make the changes everybody's, and say what they were."""
        changes: list[Change] = []
        for name, rows in self._open.items():
            table = self._tables[name]
            table.last_id = rows.last_id
            changes += [Change(name, table.rows.get(row_id), row) for row_id, row in rows.changed.items()]
            table.replace(rows.changed, rows.taken)
        return changes


class MemoryStore:
    """Several views of one memory can be had by `member`, each with switches of its own.

    `committed` is told the changes of each transaction after it has ended. What can go wrong:

    * `unavailable`: every transaction fails, as on a member outside of the primary component;
    * `conflicts`: that many of the next tries are thrown away at their COMMIT, as by a failed certification;
    * `answers_lost`: that many of the next transactions commit, and say StoreUnavailable all the same.
    """

    def __init__(self, memory: _Memory | None = None) -> None:
        self.committed: Callable[[Sequence[Change]], None] = lambda _changes: None
        self.unavailable = False
        self.conflicts = 0
        self.answers_lost = 0
        self._memory = memory or _Memory({name: _Table(kind) for name, kind in KINDS.items()})
        if memory is None:
            # These rows are there from the start, as the first migration puts them into the database.
            self._memory.tables["epochs"] = _Table(Epoch, {1: Epoch(1, 0, "")}, 1)
            self._memory.tables["settings"] = _Table(ClusterSettings, {1: ClusterSettings()}, 1)
            self._memory.tables["rollings"] = _Table(RollingRun, {1: RollingRun()}, 1)

    def member(self) -> "MemoryStore":
        """Another access to the same rows, as another member of the database."""
        return MemoryStore(self._memory)

    def run(self, work: Callable[[Any], T]) -> T:
        """See `Store.run`."""
        with self._memory.lock:
            if self._memory.at_work:
                raise RuntimeError("run() inside of run(): with a database the inner one would wait for the outer one")
            if self.unavailable:
                raise StoreUnavailable("this member of the database is not part of the primary component")
            self._memory.at_work = True
            try:
                result, changes = self._commit(work)
            finally:
                self._memory.at_work = False
            self.committed(changes)
            if self.answers_lost:
                self.answers_lost -= 1
                raise StoreUnavailable("the database went away during COMMIT, the outcome is unknown")
            return result

    def _commit(self, work: Callable[[Any], T]) -> tuple[T, list[Change]]:
        for _ in range(TRIES_MAX):
            tx = MemoryTransaction(self._memory.tables)
            result = work(tx)
            if not self.conflicts:
                return result, tx.commit()
            self.conflicts -= 1
        raise Conflict("too many others change the same things right now; try again")
