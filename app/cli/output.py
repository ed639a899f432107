"""What the commands print: tables for people, JSON for programs."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_LINE_MAX = 2000
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


def say_json(value: Any) -> None:
    """Indented, on stdout."""
    typer.echo(json.dumps(value, indent=2))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table. Texts are shown as they are, without markup or control characters; a long one goes on below.

    Where nobody sets a width (a terminal, `watch`), each row is one line, for grep and for a log.
    """
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(word(cell)) for cell in row))
    somebody_set_it = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if somebody_set_it else _LINE_MAX).print(table)


def say_facts(facts: Mapping[str, object], title: str = "") -> None:
    """One thing, a line for each fact."""
    say_table(("", title), facts.items())


def word(value: object) -> str:
    """One cell."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}={v}" if v != "" else str(k) for k, v in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(map(word, value)) or "-"
    return str(value)
