"""Engines: how a connection to SQLite or to a Galera member is opened, and how long it may take."""

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

#: a member that hangs must not hold up an agent for longer than this
CONNECT_SECONDS = 2
ANSWER_SECONDS = 5


def open_engine(url: str) -> Engine:
    """An engine for that URL; nothing is connected yet."""
    if url.startswith("sqlite"):
        return _sqlite(url)
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=16,
        pool_recycle=600,
        isolation_level="REPEATABLE READ",
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": ANSWER_SECONDS,
            "write_timeout": ANSWER_SECONDS,
            "charset": "utf8mb4",
        },
    )
    event.listen(engine, "connect", _wait_for_causality)
    return engine


def _wait_for_causality(connection: Any, _: Any) -> None:
    """A read sees what was committed on any member before it: a signal must not overtake the write it tells of."""
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION wsrep_sync_wait = 1, SESSION innodb_lock_wait_timeout = 3")


def _sqlite(url: str) -> Engine:
    # One connection for each transaction: SQLite's are cheap, and none outlives its thread.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": ANSWER_SECONDS})

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late for BEGIN IMMEDIATE
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
