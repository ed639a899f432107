"""Manual pages and the completion for bash, from the commands themselves: one page for `holdfast`, one for each group.

`man_pages.py DIRECTORY` writes them, compressed without a time; `man_pages.py --completion` prints the completion.
"""

import gzip
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer._completion_shared import get_completion_script
from typer.main import get_command

from app.cli.main import main as holdfast


def roff(text: str) -> str:
    """Text as roff takes it: no escapes by accident, no line that looks like a request."""
    plain = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + plain if plain.startswith((".", "'")) else plain


def page(command: Any, words: tuple[str, ...]) -> str:
    """The whole page of a group."""
    name = "-".join(words)
    first = (command.help or "").strip().splitlines()[0].rstrip(".")
    lines = [
        f'.TH {name.upper()} 1 "" "Holdfast" "Holdfast"',
        ".SH NAME",
        f"{roff(name)} \\- {roff(first)}",
        ".SH SYNOPSIS",
        f".B {roff(' '.join(words))}\n.I COMMAND\n.RI [ OPTIONS ]",
        ".SH DESCRIPTION",
        roff(command.help or ""),
        ".SH COMMANDS",
    ]
    for sub_name, sub in sorted(command.commands.items()):
        if not sub.hidden:
            lines += entry(sub, (*words, sub_name))
    return "\n".join([*lines, *ENDING, ""])


def entry(command: Any, words: tuple[str, ...]) -> Iterator[str]:
    """One command: how it is called, what it does, its options."""
    if hasattr(command, "commands"):
        yield f".TP\n.B {roff(' '.join(words))}\n{roff(command.help or '')} See\n.BR {roff('-'.join(words))} (1)."
        return
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    called = " ".join([*words, *((p.metavar or p.name or "").upper() for p in arguments)])
    yield f".SS {roff(called)}\n{roff(command.help or '')}"
    for parameter in command.params:
        if parameter.param_type_name == "option":
            names = ", ".join([*parameter.opts, *parameter.secondary_opts])
            yield f".TP\n.B {roff(names)}\n{roff(getattr(parameter, 'help', None) or 'No more is said.')}"


ENDING = (
    ".SH ENVIRONMENT",
    ".TP\n.B HOLDFAST_API\nWhere the API is: http://ADDRESS:PORT or unix:/PATH.",
    ".TP\n.B HOLDFAST_TOKEN\nThe token to ask it with.",
    ".TP\n.B HOLDFAST_PROJECT\nThe project to work in, with an operator's token.",
    ".SH EXIT STATUS",
    "0 done, 1 refused, 2 wrong usage, 3 the API does not answer.",
    ".SH FILES",
    ".TP\n.I /etc/holdfast/holdfast.toml\nThis node's settings, for the agent and the API.",
)


def pages(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Name and text of the page of this group and of those in it."""
    yield "-".join(words), page(command, words)
    for name, sub in sorted(command.commands.items()):
        if hasattr(sub, "commands") and not sub.hidden:
            yield from pages(sub, (*words, name))


def main() -> None:
    """Write what is asked for."""
    if sys.argv[1:] == ["--completion"]:
        typer.echo(get_completion_script(prog_name="holdfast", complete_var="_HOLDFAST_COMPLETE", shell="bash"))  # noqa: S604  a name, not a command
        return
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages(get_command(holdfast), ("holdfast",)):
        clean = re.sub(r"\n{2,}", "\n", text)
        (directory / f"{name}.1.gz").write_bytes(gzip.compress(clean.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
