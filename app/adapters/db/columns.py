"""Kinds of columns that mean the same on SQLite and on MariaDB."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Column, DateTime, Dialect, Double, Text, TypeDecorator, text
from sqlalchemy.dialects.mysql import DATETIME, LONGTEXT
from sqlmodel import Field


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC with microseconds. MariaDB's plain DATETIME would cut them off."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """DATETIME(6) on MariaDB."""
        return dialect.type_descriptor(DATETIME(fsp=6) if dialect.name == "mysql" else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Naive times are refused: nobody knows what they mean."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Aware again."""
        return None if value is None else value.replace(tzinfo=UTC)


LONG = Text().with_variant(LONGTEXT(), "mysql")


def time_column(*, nullable: bool = True) -> Any:
    return Field(default=None, sa_column=Column(UtcDateTime(), nullable=nullable))


def later_text(default: str = "") -> Any:
    """A name that came with a later version: rows of the version before get the default."""
    return Field(default=default, sa_column_kwargs={"server_default": text(f"'{default}'")})


def json_column() -> Any:
    return Field(default=None, sa_column=Column(JSON(), nullable=False))


def text_column() -> Any:
    return Field(default="", sa_column=Column(LONG, nullable=False))


def double() -> Any:
    """MariaDB's FLOAT has 24 bits."""
    return Field(default=None, sa_column=Column(Double(), nullable=True))


def number() -> Any:
    return Field(sa_column=Column(Double(), nullable=False))
