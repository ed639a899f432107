"""The state: rows of frozen values, read and written in one transaction.

`Store.run(work)` calls `work(tx)` in one transaction and commits. A conflict with another writer (Galera's
certification, error 1213; a lock time-out; SQLite's busy) rolls back and calls `work` again, so `work` must
have no effect outside of `tx`. Any exception out of `work` rolls back and is passed on. No `run` inside of `run`.

Ids are given by the store, never twice, with gaps. An id is higher than those of all rows of its kind that its
transaction read before; of two transactions that did not see each other nothing is promised. Texts compare exactly
(case, trailing spaces). Times are aware and keep their microseconds; a database gives them back in UTC. Unique are:
VM name, group name and idempotency key in a project, webhook id at an endpoint, path name of a node and target,
node, method and checker of a fence check,
names of nodes, projects, plans and images, the SHA-256 of a token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Generic, Protocol, TypeVar, get_args, get_origin, get_type_hints

from app.domain.cluster import Incident
from app.domain.cluster_settings import ClusterSettings
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

T = TypeVar("T")
R = TypeVar("R")


class StoreUnavailable(Exception):
    """The database does not answer, or this member of it is not part of the primary component."""


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """One page of a list: rows, and how many there are in all."""

    rows: Sequence[R]
    total: int


@cache
def plain_fields(kind: type) -> frozenset[str]:
    """The fields of a kind that filters and sorts may name: numbers, texts, enums, times; nothing nested."""

    def plain(hint: object) -> bool:
        return not any(is_dataclass(part) or get_origin(part) in (tuple, dict) for part in (hint, *get_args(hint)))

    return frozenset(name for name, hint in get_type_hints(kind).items() if plain(hint))


class Rows(Protocol[R]):
    """The rows of one kind.

    Filters are equality on the names of `plain_fields` (a tuple or list as value: any of these; an empty one: none);
    ValueError for any other name.
    """

    def get(self, row_id: int) -> R | None:
        """The row with that id, or None."""

    def where(self, **equals: object) -> Sequence[R]:
        """All rows that match, by id."""

    def page(
        self, *, page: int, per_page: int, sort: str = "id", descending: bool = False, **equals: object
    ) -> Page[R]:
        """Page `page` (from 1) of the rows that match, sorted by that field (None first), then id."""

    def add(self, row: R) -> R:
        """Insert; the id of `row` is ignored, the stored row with its new id is returned.

        NameTaken when a unique key (see above) of any kind is in use. ValueError for a time without zone.
        InvalidInput where the database cannot hold a value (a text over 255 characters where names go).
        """

    def save(self, row: R) -> None:
        """Replace the row with this id. KeyError if there is none; NameTaken, ValueError, InvalidInput as in `add`."""

    def remove(self, row_id: int) -> None:
        """Delete the row; no error if there is none."""


class Transaction(Protocol):
    """All kinds of rows."""

    @property
    def vms(self) -> Rows[Vm]: ...
    @property
    def nodes(self) -> Rows[Node]: ...
    @property
    def incidents(self) -> Rows[Incident]: ...
    @property
    def projects(self) -> Rows[Project]: ...
    @property
    def tokens(self) -> Rows[Token]: ...
    @property
    def plans(self) -> Rows[Plan]: ...
    @property
    def images(self) -> Rows[Image]: ...
    @property
    def actions(self) -> Rows[ApiAction]: ...
    @property
    def idempotency(self) -> Rows[IdempotencyRecord]: ...
    @property
    def endpoints(self) -> Rows[WebhookEndpoint]: ...
    @property
    def outbox(self) -> Rows[OutboxMessage]: ...
    @property
    def epochs(self) -> Rows[Epoch]: ...
    @property
    def events(self) -> Rows[ClusterEvent]: ...
    @property
    def paths(self) -> Rows[NodePath]: ...
    @property
    def fence_checks(self) -> Rows[FenceCheck]: ...
    @property
    def audit(self) -> Rows[AuditEntry]: ...
    @property
    def groups(self) -> Rows[PlacementGroup]: ...
    @property
    def settings(self) -> Rows[ClusterSettings]: ...
    @property
    def layouts(self) -> Rows[Layout]: ...
    @property
    def rollings(self) -> Rows[RollingRun]: ...


class Store(Protocol):
    """The database."""

    def run(self, work: Callable[[Transaction], T]) -> T:
        """Do `work` in one transaction, again on a conflict.

        StoreUnavailable when the database is gone. If it went away during COMMIT the outcome is unknown: callers
        look again (by level, by idempotency key) before they repeat. Conflict (a domain error) when tries are used up.
        """
