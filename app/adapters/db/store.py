"""The one unit of work: a transaction that is done again on a conflict, on the first database that answers."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.adapters.db.faults import Again, Unreachable, judge, short
from app.adapters.db.members import Member, Members
from app.adapters.db.rows import SqlTransaction
from app.domain.errors import Conflict
from app.ports.store import StoreUnavailable, Transaction

T = TypeVar("T")

#: A conflict is tried again until either is used up. 2, 4, ... 250 ms of back-off at most, half of it on average.
TRIES_MAX = 20
TRY_SECONDS_MAX = 10.0
#: A failure this quick may be a pooled connection to a member that was restarted: worth one fresh connection.
STALE_SECONDS = 0.5


class SqlStore:
    """`urls`: the preferred database first (the local Galera member by its socket), then the others. Thread-safe."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._members = Members(urls)
        self._inside = threading.local()

    def run(self, work: Callable[[Transaction], T]) -> T:
        """See `Store.run`.

        A connection that breaks before COMMIT is tried on the next database. One that breaks during COMMIT is
        StoreUnavailable with an unknown outcome: callers go by level or by idempotency key, so they may ask again.
        """
        if getattr(self._inside, "work", False):
            raise RuntimeError("run() inside of run(): the inner transaction would wait for the outer one")
        self._inside.work = True
        try:
            return self._on_any(work)
        finally:
            self._inside.work = False

    def close(self) -> None:
        """Give up all connections."""
        self._members.close()

    def _on_any(self, work: Callable[[Transaction], T]) -> T:
        last: Exception | None = None
        for member in self._members.in_order():
            try:
                result = _with_fresh_connection(member, work)
            except Unreachable as error:
                last = error.cause
                self._members.failed(member)
                continue
            except StoreUnavailable:
                self._members.failed(member)
                raise
            self._members.worked(member)
            return result
        raise StoreUnavailable(f"no database answers: {short(last)}") from last


def _with_fresh_connection(member: Member, work: Callable[[Transaction], T]) -> T:
    started = time.monotonic()
    try:
        return _with_retries(member.engine, work)
    except Unreachable:
        if time.monotonic() - started > STALE_SECONDS:
            raise
    return _with_retries(member.engine, work)


def _with_retries(engine: Engine, work: Callable[[Transaction], T]) -> T:
    deadline = time.monotonic() + TRY_SECONDS_MAX
    for attempt in range(TRIES_MAX):
        try:
            return _once(engine, work)
        except Again:
            if time.monotonic() >= deadline:
                break
            # Jitter, or two that collided collide again.
            time.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.25)))  # noqa: S311
    raise Conflict("too many others change the same things right now; try again")


def _once(engine: Engine, work: Callable[[Transaction], T]) -> T:
    committing = False
    try:
        with engine.connect() as connection:
            transaction = connection.begin()
            try:
                tx = SqlTransaction(connection)
                result = work(cast(Transaction, tx))
                # One that wrote nothing is ended by the connection's close, which rolls it back: a COMMIT would be
                # another round trip, twice a second or more on every node.
                if tx.wrote:
                    committing = True
                    transaction.commit()
            except BaseException:
                if transaction.is_active:
                    transaction.rollback()
                raise
            return result
    except PoolTimeout as error:
        raise Unreachable(error) from error
    except DBAPIError as error:
        raise judge(error, committing=committing) from error
