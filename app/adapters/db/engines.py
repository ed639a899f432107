"""Engines: how a connection to SQLite or to a Galera member is opened, and how long it may take."""

import socket
from typing import Any

import pymysql
from pymysql.constants import CR
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

#: a member that hangs must not hold up an agent for longer than this
CONNECT_SECONDS = 2
ANSWER_SECONDS = 5


def open_engine(url: str, *, answer_seconds: int = ANSWER_SECONDS, pooled: bool = True) -> Engine:
    """An engine for that URL; nothing is connected yet. `answer_seconds` bounds each statement and the handshake.

    No pre-ping: on a member that hangs it would double the wait. The unit of work tries a stale connection's
    transaction again instead, and one lost connection drops all of its pool.
    """
    if url.startswith("sqlite:"):
        return _sqlite(url)
    if not url.startswith("mysql+pymysql:"):
        raise ValueError(f"a database URL begins with sqlite: or mysql+pymysql:, not with {url.partition(':')[0]}:")
    pool: dict[str, Any] = (
        {"pool_size": 8, "max_overflow": 16, "pool_timeout": answer_seconds, "pool_recycle": 600}
        if pooled
        else {"poolclass": NullPool}
    )
    engine = create_engine(
        url,
        isolation_level="REPEATABLE READ",
        connect_args={
            "connect_timeout": min(CONNECT_SECONDS, answer_seconds),
            "read_timeout": answer_seconds,
            "write_timeout": answer_seconds,
            "charset": "utf8mb4",
        },
        **pool,
    )
    event.listen(engine, "do_connect", _connect_by_socket)
    event.listen(engine, "connect", _set_session)
    return engine


def _connect_by_socket(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """PyMySQL 1.2 leaves a Unix socket open that it could not connect; None lets SQLAlchemy connect by TCP.

    It would use TLS by a socket, too, where the server has it: that reads all authorities that the host trusts for each
    connection (20 ms of a core), shakes hands and encrypts, for nobody.
    """
    if "unix_socket" not in options:
        return None
    connection = pymysql.connect(*arguments, defer_connect=True, **{**options, "ssl_disabled": True})
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plain.settimeout(options["connect_timeout"])
        plain.connect(options["unix_socket"])
        connection.connect(plain)
    except OSError as error:
        plain.close()
        message = f"Can't connect by {options['unix_socket']} ({error})"
        raise pymysql.OperationalError(CR.CR_CONNECTION_ERROR, message) from error
    except BaseException:
        plain.close()
        raise
    return connection


def _set_session(connection: Any, _: Any) -> None:
    """What the unit of work rests on.

    wsrep_sync_wait: a read sees what was committed on any member before it; a signal must not overtake the write
    that it tells of. innodb_snapshot_isolation (MariaDB 10.6.18, 10.11.8, 11.4 and later): to change a row that
    has changed since this transaction read it is error 1020. Without it InnoDB's REPEATABLE READ overwrites the other's
    change silently, and Galera certifies only what was not applied here yet.
    """
    settings = ("wsrep_sync_wait = 1", "innodb_lock_wait_timeout = 3", "innodb_snapshot_isolation = ON")
    with connection.cursor() as cursor:
        cursor.execute("SET " + ", ".join(f"SESSION {setting}" for setting in settings))


def _sqlite(url: str) -> Engine:
    if url.removeprefix("sqlite:").strip("/") in ("", ":memory:"):
        raise ValueError("SQLite in memory is empty again for each transaction: name a file, as in sqlite:////var/x.db")
    # One connection for each transaction: SQLite's are cheap, and none outlives its thread.
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": ANSWER_SECONDS})

    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late for BEGIN IMMEDIATE
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
