"""The schema's version: Alembic, driven from inside, so that an installed package can do it.

Two phases, declared in each migration. `expand` adds, so that the version before goes on with it: done as soon as the
first node has the new version, while the others have the old one. `contract` takes away what the version before still
used: done when every node has the new version. New software runs on a schema that is only expanded; old software does
not start on one that is contracted (`schema_floor`).
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version as installed
from itertools import takewhile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel

import migrations
from app.adapters.db import tables as _tables  # noqa: F401  defines the floor and the nodes
from app.adapters.db.engines import open_engine
from app.adapters.db.faults import exists_already, short
from app.domain.errors import Conflict
from app.ports.store import StoreUnavailable

SCRIPTS = Path(next(iter(migrations.__path__)))
EXPAND, CONTRACT = "expand", "contract"
#: another node may be doing the same, and MariaDB has no transactional DDL
OTHERS_SECONDS = 60.0
_LOOK_SECONDS = 0.5
#: a request that is repeated waits for the first
_ONE = threading.Lock()


def _config(url: str, scripts: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    # Alembic's configuration interpolates percent signs, which passwords may have.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def upgrade(url: str, scripts: Path = SCRIPTS) -> tuple[str, ...]:
    """Bring the database as far as the version before can go on with it; a new one is made whole. Repeatable, and nodes
    may do it at the same time. What is left for `contract`, by revision.

    Conflict where a contraction of an older version is still due, for what comes after it would have to jump over it.
    StoreUnavailable where the database does not answer.
    """
    with _answering():
        return _upgrade(url, scripts)


def _upgrade(url: str, scripts: Path) -> tuple[str, ...]:
    config = _config(url, scripts)
    directory, before = ScriptDirectory.from_config(config), current(url)
    pending = _pending(directory, before)
    if before is None:
        _go(config, url, directory.get_current_head())
        _raise_floor(url, _contractions(pending))
        return ()
    expansions = list(takewhile(lambda s: _phase(s) == EXPAND, pending))
    rest = pending[len(expansions) :]
    if any(_phase(s) == EXPAND for s in rest):
        raise Conflict(
            "an earlier upgrade was never finished: its schema change"
            f" {rest[0].revision} is due. When all nodes have the same version: `holdfast db upgrade --contract`"
        )
    if expansions:
        _go(config, url, expansions[-1].revision)
    return _contractions(rest)


def contract(url: str, me: str, scripts: Path = SCRIPTS) -> tuple[str, ...]:
    """Take away what only the version before used; the revisions of that. Repeatable.

    Conflict while a node besides `me`, on which this runs, says another version than this one's, or none.
    StoreUnavailable where the database does not answer.
    """
    with _ONE, _answering():
        return _contract(url, me, scripts)


def _contract(url: str, me: str, scripts: Path) -> tuple[str, ...]:
    mine = installed("holdfast")
    config = _config(url, scripts)
    directory, before = ScriptDirectory.from_config(config), current(url)
    pending = _pending(directory, before)
    due = _contractions(pending)
    if not due:
        return ()
    others = [(name, version) for name, version in _versions(url) if name != me and version != mine]
    if others:
        behind = (f"{name} runs {version or 'an unknown version'}" for name, version in others)
        raise Conflict(f"not every node runs {mine}: {', '.join(behind)}. Upgrade them first, or `forget` what is gone")
    # Raised before anything is taken away: all that run now are above it, and a crash in between must leave no gap.
    _raise_floor(url, due)
    _go(config, url, directory.get_current_head())
    return due


def current(url: str) -> str | None:
    """The revision of the database, None when it has no schema yet."""
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise StoreUnavailable(short(error)) from error


def _go(config: Config, url: str, revision: str | None) -> None:
    assert revision is not None, "there are migrations"
    until = time.monotonic() + OTHERS_SECONDS
    while True:
        try:
            command.upgrade(config, revision)
        except OperationalError as error:
            # Another node is at it, or has just done it: one of the two gets through.
            if not exists_already(error) or time.monotonic() > until:
                raise
            time.sleep(_LOOK_SECONDS)
            if current(url) == revision:
                return
        else:
            return


def _pending(directory: ScriptDirectory, before: str | None) -> list[Script]:
    """Oldest first; none where the database is ahead of this software."""
    chain = list(reversed(list(directory.walk_revisions())))
    known = [s.revision for s in chain]
    if before is None:
        return chain
    return chain[known.index(before) + 1 :] if before in known else []


def _phase(script: Script) -> str:
    phase = str(getattr(script.module, "phase", ""))
    assert phase in (EXPAND, CONTRACT), f"migration {script.revision} declares no phase"
    return phase


def _contractions(scripts: Sequence[Script]) -> tuple[str, ...]:
    return tuple(s.revision for s in scripts if _phase(s) == CONTRACT)


def _versions(url: str) -> list[tuple[str, str]]:
    nodes = SQLModel.metadata.tables["nodes"]
    engine = open_engine(url, pooled=False)
    try:
        with engine.connect() as connection:
            return [(row.name, row.version) for row in connection.execute(select(nodes.c.name, nodes.c.version))]
    finally:
        engine.dispose()


def _raise_floor(url: str, contractions: Sequence[str]) -> None:
    if not contractions:
        return
    floor = SQLModel.metadata.tables["schema_floor"]
    row = {"revision": contractions[-1], "version": installed("holdfast")}
    engine = open_engine(url, pooled=False)
    try:
        with engine.begin() as connection:
            if connection.execute(floor.update().values(row)).rowcount == 0:
                connection.execute(floor.insert().values(row))
    finally:
        engine.dispose()
