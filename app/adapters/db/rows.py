"""The `Rows` and `Transaction` of the port on one SQLAlchemy connection, in Core: no identity map, no lazy loads."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.adapters.db.mapping import KINDS, Mapped
from app.domain.errors import NameTaken
from app.ports.store import Page


class SqlRows:
    """The rows of one kind."""

    def __init__(self, connection: Connection, mapped: Mapped) -> None:
        self._connection = connection
        self._mapped = mapped
        self._table: Table = mapped.row.__table__  # type: ignore[attr-defined]

    def get(self, row_id: int) -> Any:
        """See `Rows.get`."""
        row = self._connection.execute(select(self._table).where(self._table.c.id == row_id)).mappings().first()
        return None if row is None else self._mapped.to_value(dict(row))

    def where(self, **equals: object) -> Sequence[Any]:
        """See `Rows.where`."""
        query = select(self._table).where(*self._conditions(equals)).order_by(self._table.c.id)
        return [self._mapped.to_value(dict(row)) for row in self._connection.execute(query).mappings()]

    def page(
        self, *, page: int, per_page: int, sort: str = "id", descending: bool = False, **equals: object
    ) -> Page[Any]:
        """See `Rows.page`."""
        conditions = self._conditions(equals)
        total = self._connection.execute(select(func.count()).select_from(self._table).where(*conditions)).scalar_one()
        column, row_id = self._column(sort), self._table.c.id
        order = (column.desc(), row_id.desc()) if descending else (column, row_id)
        query = select(self._table).where(*conditions).order_by(*order).limit(per_page).offset((page - 1) * per_page)
        return Page([self._mapped.to_value(dict(row)) for row in self._connection.execute(query).mappings()], total)

    def add(self, row: Any) -> Any:
        """See `Rows.add`."""
        columns = self._mapped.to_columns(row)
        del columns["id"]
        try:
            done = self._connection.execute(insert(self._table).values(columns))
        except IntegrityError as error:
            raise NameTaken(_taken(self._mapped, columns)) from error
        assert done.inserted_primary_key is not None
        return self._mapped.to_value({**columns, "id": done.inserted_primary_key[0]})

    def save(self, row: Any) -> None:
        """See `Rows.save`."""
        columns = self._mapped.to_columns(row)
        try:
            done = self._connection.execute(update(self._table).where(self._table.c.id == row.id).values(columns))
        except IntegrityError as error:
            raise NameTaken(_taken(self._mapped, columns)) from error
        # Rows that matched, not rows that changed: SQLAlchemy's dialect sets PyMySQL's FOUND_ROWS flag.
        if done.rowcount == 0:
            raise KeyError(f"no {self._mapped.kind.__name__} with id {row.id}")

    def remove(self, row_id: int) -> None:
        """See `Rows.remove`."""
        self._connection.execute(delete(self._table).where(self._table.c.id == row_id))

    def _column(self, name: str) -> Any:
        if name not in self._table.c:
            raise ValueError(f"{self._mapped.kind.__name__} has no field {name}")
        return self._table.c[name]

    def _conditions(self, equals: dict[str, object]) -> list[Any]:
        conditions = []
        for name, wanted in equals.items():
            column = self._column(name)
            if isinstance(wanted, tuple | list):
                conditions.append(column.in_([getattr(w, "value", w) for w in wanted]))
            elif wanted is None:
                conditions.append(column.is_(None))
            else:
                conditions.append(column == getattr(wanted, "value", wanted))
        return conditions


def _taken(mapped: Mapped, columns: dict[str, Any]) -> str:
    said = f" {columns['name']!r}" if "name" in columns else ""
    return f"{mapped.kind.__name__}{said} exists already"


class SqlTransaction:
    """All kinds of rows on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> SqlRows:
        if name not in KINDS:
            raise AttributeError(name)
        return SqlRows(self._connection, KINDS[name])
