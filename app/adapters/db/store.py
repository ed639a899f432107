"""The one unit of work: a transaction that is done again on a conflict, on the first database that answers."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.adapters.db.engines import open_engine
from app.adapters.db.rows import SqlTransaction
from app.domain.errors import Conflict
from app.ports.store import StoreUnavailable, Transaction

T = TypeVar("T")

#: mariadb error codes: deadlock found, which is also what a failed certification says; lock wait time-out
_CONFLICTS = (1213, 1205)
#: cannot connect; WSREP has not yet prepared node; lost connection; gone away; server shutdown; read-only; unknown host
_GONE = (2002, 2003, 2005, 2006, 2013, 2055, 1047, 1053, 1290, 1040, 4031, 0)
TRIES_MAX = 12
#: how long a fallback is used before the preferred database is tried again
FALLBACK_SECONDS = 5.0


class SqlStore:
    """`urls`: the preferred database first (the local Galera member by its socket), then the others. Thread-safe."""

    def __init__(self, urls: Sequence[str]) -> None:
        if not urls:
            raise ValueError("no database is configured")
        self._engines = [open_engine(url) for url in urls]
        self._lock = threading.Lock()
        self._current = 0
        self._return_at = 0.0

    def run(self, work: Callable[[Transaction], T]) -> T:
        """See `Store.run`.

        A connection that breaks before COMMIT is tried on the next database. One that breaks during COMMIT is
        StoreUnavailable with an unknown outcome: callers go by level or by idempotency key, so they may ask again.
        """
        last: Exception | None = None
        first = self._choose()
        for turn in range(len(self._engines)):
            index = (first + turn) % len(self._engines)
            try:
                result = self._with_retries(self._engines[index], work)
            except _Unreachable as error:
                last = error.cause
                continue
            if turn:
                self._prefer(index)
            return result
        raise StoreUnavailable(f"no database answers: {_short(last)}") from last

    def close(self) -> None:
        """Give up all connections."""
        for engine in self._engines:
            engine.dispose()

    def _choose(self) -> int:
        with self._lock:
            if self._current and time.monotonic() >= self._return_at:
                self._current = 0
            return self._current

    def _prefer(self, index: int) -> None:
        with self._lock:
            self._current = index
            self._return_at = time.monotonic() + FALLBACK_SECONDS

    def _with_retries(self, engine: Engine, work: Callable[[Transaction], T]) -> T:
        for attempt in range(TRIES_MAX):
            try:
                return self._once(engine, work)
            except _Again:
                # Jitter, or two that collided collide again.
                time.sleep(random.uniform(0, min(0.005 * 2**attempt, 0.25)))  # noqa: S311
        raise Conflict("too many others change the same things right now; try again")

    def _once(self, engine: Engine, work: Callable[[Transaction], T]) -> T:
        committing = False
        try:
            with engine.connect() as connection:
                transaction = connection.begin()
                try:
                    result = work(cast(Transaction, SqlTransaction(connection)))
                    committing = True
                    transaction.commit()
                except BaseException:
                    if transaction.is_active:
                        transaction.rollback()
                    raise
                return result
        except PoolTimeout as error:
            raise _Unreachable(error) from error
        except DBAPIError as error:
            raise _judge(error, committing=committing) from error


class _Again(Exception):
    """Somebody else changed the same: nothing of this was written."""


class _Unreachable(Exception):
    """This database does not answer, and nothing was committed in it."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _judge(error: DBAPIError, *, committing: bool) -> Exception:
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    if code in _CONFLICTS or "database is locked" in str(error.orig):
        return _Again()
    gone = code in _GONE or error.connection_invalidated
    if gone and committing:
        return StoreUnavailable(f"the database went away during COMMIT, the outcome is unknown: {_short(error)}")
    if gone or isinstance(error, OperationalError | InterfaceError):
        return _Unreachable(error)
    return error


def _short(error: Exception | None) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).splitlines()[0][:300] if cause else "unknown"
