"""What the commands print: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]


def say_json(value: Any) -> None:
    """Indented, on stdout."""
    typer.echo(json.dumps(value, indent=2))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """A table. Texts are shown as they are, without markup or control characters; a long one goes on below."""
    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(word(cell)) for cell in row))
    Console().print(table)


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
