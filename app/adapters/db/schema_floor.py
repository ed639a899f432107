"""Whether this software still fits the schema: asked when a program starts, so without Alembic, and quickly.

A contraction of the schema (`schema`) writes down its revision before it takes anything away. Software that does not
know that revision is older, and would read columns that are gone.
"""

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import SQLModel

import migrations
from app.adapters.db import tables as _tables  # noqa: F401  defines the floor
from app.adapters.db.engines import open_engine
from app.domain.errors import SoftwareTooOld

SCRIPTS = Path(next(iter(migrations.__path__)))
#: a database that hangs must not hold up the start of an agent, whose watchdog waits
ANSWER_SECONDS = 2


def require_fit(url: str, version: str, scripts: Path = SCRIPTS) -> None:
    """SoftwareTooOld where this software, of that version, must not start.

    A database that does not answer, or has no schema yet, says nothing: every statement names its columns, so software
    that does not fit reads and writes nothing in the end.
    """
    floor = SQLModel.metadata.tables["schema_floor"]
    engine = open_engine(url, answer_seconds=ANSWER_SECONDS, pooled=False)
    try:
        with engine.connect() as connection:
            row = connection.execute(select(floor.c.revision, floor.c.version)).first()
    except SQLAlchemyError:
        return
    finally:
        engine.dispose()
    if row is not None and row.revision not in revisions(scripts):
        raise SoftwareTooOld(
            f"this is version {version}, and the cluster's state has a schema that it does not know (revision"
            f" {row.revision}, by version {row.version}): install version {row.version} or a later one"
        )


def revisions(scripts: Path = SCRIPTS) -> frozenset[str]:
    """Those that this software has, by the names of their files."""
    return frozenset(f.name.partition("_")[0] for f in (scripts / "versions").glob("[0-9]*.py"))
