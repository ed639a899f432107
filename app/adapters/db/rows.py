"""The `Rows` and `Transaction` of the port on one SQLAlchemy connection, in Core: no identity map, no lazy loads."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Select,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    delete,
    func,
    insert,
    select,
    type_coerce,
    update,
)
from sqlalchemy.exc import IntegrityError

from app.adapters.db.faults import Again, is_duplicate
from app.adapters.db.mapping import KINDS, Mapped, Values
from app.domain.errors import NameTaken
from app.ports.store import Page, plain_fields

#: the fields that are asked for, each with the kind of test
Shape = tuple[tuple[str, str], ...]


class SqlRows:
    """The rows of one kind."""

    def __init__(self, tx: "SqlTransaction", mapped: Mapped) -> None:
        self._tx = tx
        self._connection = tx.connection
        self._mapped = mapped
        self._table: Table = mapped.row.__table__  # type: ignore[attr-defined]

    def get(self, row_id: int) -> Any:
        """See `Rows.get`."""
        found = self.where(id=row_id)
        return found[0] if found else None

    def where(self, **equals: object) -> Sequence[Any]:
        """See `Rows.where`."""
        query = _query(self._table, self._shape(equals))
        return [self._mapped.to_value(dict(row)) for row in self._connection.execute(query, _values(equals)).mappings()]

    def page(
        self, *, page: int, per_page: int, sort: str = "id", descending: bool = False, **equals: object
    ) -> Page[Any]:
        """See `Rows.page`."""
        shape, values = self._shape(equals), _values(equals)
        conditions = _conditions(self._table, shape)
        count = select(func.count()).select_from(self._table).where(*conditions)
        total = self._connection.execute(count, values).scalar_one()
        column, row_id = self._column(sort), self._table.c.id
        order = (column.desc(), row_id.desc()) if descending else (column, row_id)
        query = select(self._table).where(*conditions).order_by(*order).limit(per_page).offset((page - 1) * per_page)
        return Page(
            [self._mapped.to_value(dict(row)) for row in self._connection.execute(query, values).mappings()], total
        )

    def add(self, row: Any) -> Any:
        """See `Rows.add`."""
        columns = self._mapped.to_columns(row)
        del columns["id"]
        done = self._write(insert(self._table).values(columns), columns)
        assert done.inserted_primary_key is not None
        return self._mapped.to_value({**columns, "id": done.inserted_primary_key[0]})

    def save(self, row: Any) -> None:
        """See `Rows.save`."""
        columns = self._mapped.to_columns(row)
        columns |= {name: self._merged(name, columns[name]) for name in self._mapped.nested}
        done = self._write(update(self._table).where(self._table.c.id == row.id).values(columns), columns)
        # Rows that matched, not rows that changed: SQLAlchemy's dialect sets PyMySQL's FOUND_ROWS flag.
        if done.rowcount == 0:
            raise KeyError(f"no {self._mapped.kind.__name__} with id {row.id}")

    def remove(self, row_id: int) -> None:
        """See `Rows.remove`."""
        self._write(delete(self._table).where(self._table.c.id == row_id), {})

    def _merged(self, name: str, value: Values) -> Any:
        """What is stored, with these keys changed. In a rolling upgrade other nodes may have written keys that this
        version does not know: to write the whole value would take them away (RFC 7396, in the database's own words).
        """
        patch = func.json_patch if self._connection.dialect.name == "sqlite" else func.json_merge_patch
        return patch(type_coerce(self._table.c[name], String), json.dumps(value))

    def _write(self, statement: Executable, columns: Values) -> Any:
        self._tx.wrote = True
        try:
            return self._connection.execute(statement)
        except IntegrityError as error:
            if not is_duplicate(error):
                raise
            taken = self._visible_duplicate(columns)
            if taken is None:
                # Committed by somebody else after this transaction's snapshot: work may look again, and will see it.
                raise Again from error
            said = ", ".join(f"{name} {columns[name]!r}" for name in taken)
            raise NameTaken(f"{self._mapped.kind.__name__} with {said} exists already") from error

    def _visible_duplicate(self, columns: Values) -> list[str] | None:
        for constraint in self._table.constraints:
            if not isinstance(constraint, UniqueConstraint):
                continue
            same = [column == columns[column.name] for column in constraint.columns]
            others = self._table.c.id != columns.get("id", 0)
            if self._connection.execute(select(self._table.c.id).where(*same, others)).first() is not None:
                return [column.name for column in constraint.columns]
        return None

    def _column(self, name: str) -> Any:
        self._must_have(name)
        return self._table.c[name]

    def _shape(self, equals: Mapping[str, object]) -> Shape:
        for name in equals:
            self._must_have(name)
        return tuple((name, _kind_of_test(wanted)) for name, wanted in equals.items())

    def _must_have(self, name: str) -> None:
        if name not in plain_fields(self._mapped.kind):
            raise ValueError(f"{self._mapped.kind.__name__} has no field {name}")


def _kind_of_test(wanted: object) -> str:
    return "in" if isinstance(wanted, tuple | list) else "null" if wanted is None else "equal"


def _values(equals: Mapping[str, object]) -> Values:
    """What goes into the places that `_conditions` left open."""
    return {
        name: [getattr(w, "value", w) for w in wanted]
        if isinstance(wanted, tuple | list)
        else getattr(wanted, "value", wanted)
        for name, wanted in equals.items()
        if wanted is not None
    }


@lru_cache(maxsize=512)
def _conditions(table: Table, shape: Shape) -> Sequence[ColumnElement[bool]]:
    """Each test of the shape, with the value left open."""
    tests = {
        "in": lambda column: column.in_(bindparam(column.name, expanding=True)),
        "null": lambda column: column.is_(None),
        "equal": lambda column: column == bindparam(column.name),
    }
    return tuple(tests[kind](table.c[name]) for name, kind in shape)


@lru_cache(maxsize=512)
def _query(table: Table, shape: Shape) -> Select[Any]:
    """Made once: agents ask the same few things every second, and to put a statement together costs as much as to
    run it."""
    return select(table).where(*_conditions(table, shape)).order_by(table.c.id)


class SqlTransaction:
    """All kinds of rows on one connection. `wrote`: its COMMIT matters."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.wrote = False

    def __getattr__(self, name: str) -> SqlRows:
        if name not in KINDS:
            raise AttributeError(name)
        return SqlRows(self, KINDS[name])
