"""The whole state as text, table by table, and back: for a backup that needs no program of the database's.

A dump is JSON lines: one that says what it is, then one for each row, then one that says how many there were, by
which a dump that broke off is known. It is read in one transaction, so it is the state of one moment.
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Table, select
from sqlmodel import SQLModel

from app.adapters.db import schema
from app.adapters.db import tables as _tables  # noqa: F401  defines what is dumped
from app.adapters.db.engines import open_engine
from app.domain.errors import Conflict, InvalidInput

FORMAT = 1
ANSWER_SECONDS = 120
_BATCH = 500


def dump(url: str, about: dict[str, Any]) -> Iterator[str]:
    """The lines. `about` goes into the first."""
    engine = open_engine(url, answer_seconds=ANSWER_SECONDS, pooled=False)
    try:
        yield json.dumps({"holdfast_dump": FORMAT, "schema": schema.current(url), **about})
        count = 0
        with engine.begin() as connection:
            for table in _all_tables():
                for row in connection.execute(select(table).order_by(table.c.id)).mappings():
                    yield json.dumps({"table": table.name, "row": {k: _plain(v) for k, v in row.items()}})
                    count += 1
        yield json.dumps({"rows": count})
    finally:
        engine.dispose()


def restore(url: str, lines: Iterable[str], *, replace: bool) -> int:
    """Put the dump in place of what is there, in one transaction; the number of its rows.

    Who the members are stays as it is here, where it is known: machines that burned must not come back as members, on
    whose votes the new ones would wait.

    InvalidInput for what is no whole dump. Conflict for a dump of another schema, and unless `replace` for a database
    that has projects already.
    """
    head, rows = _read(lines)
    current = schema.current(url)
    if head.get("schema") != current:
        raise Conflict(
            f"the dump has the schema {head.get('schema')}, this version makes {current}: install the version that made"
            f" the dump ({head.get('version', 'see its first line')}), restore, then upgrade"
        )
    engine = open_engine(url, answer_seconds=ANSWER_SECONDS, pooled=False)
    try:
        with engine.begin() as connection:
            projects = SQLModel.metadata.tables["projects"]
            if not replace and connection.execute(select(projects.c.id).limit(1)).first():
                raise Conflict(
                    "this cluster has a state already: a restore would replace it, say --replace if you mean it"
                )
            layouts = SQLModel.metadata.tables["layouts"]
            known = connection.execute(select(layouts.c.id).limit(1)).first() is not None
            tables = [table for table in _all_tables() if table is not layouts or not known]
            for table in reversed(tables):
                connection.execute(table.delete())
            for table in tables:
                found = [_typed(table, row) for name, row in rows if name == table.name]
                for begin in range(0, len(found), _BATCH):
                    connection.execute(table.insert(), found[begin : begin + _BATCH])
    finally:
        engine.dispose()
    return len(rows)


def _all_tables() -> list[Table]:
    return list(SQLModel.metadata.sorted_tables)


def _plain(value: Any) -> Any:
    return {"time": value.isoformat()} if isinstance(value, datetime) else value


def _typed(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    if unknown := set(row) - set(table.c.keys()):
        raise InvalidInput("dump", f"{table.name} has no {', '.join(sorted(unknown))}")

    def typed(value: Any) -> Any:
        is_time = isinstance(value, dict) and set(value) == {"time"}
        return datetime.fromisoformat(value["time"]) if is_time else value

    return {k: typed(v) for k, v in row.items()}


def _read(lines: Iterable[str]) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    try:
        all_lines = [json.loads(line) for line in lines if line.strip()]
        head, *body, tail = all_lines
        rows = [(line["table"], line["row"]) for line in body]
        if head["holdfast_dump"] != FORMAT or tail["rows"] != len(rows):
            raise ValueError("its end is missing")
    except (ValueError, KeyError, TypeError, EOFError, OSError) as error:
        raise InvalidInput("dump", f"this is no whole dump of a state: {error}") from error
    names = {t.name for t in _all_tables()}
    if strange := {name for name, _ in rows} - names:
        raise InvalidInput("dump", f"it has tables that are not known here: {', '.join(sorted(strange))}")
    return head, rows
