"""Each `holdfast` command that a page, an alert or the program itself tells somebody to type: the real parser takes it.

Whole lines of a shell block must parse as they stand: commands, options, and the number of arguments. What is named in
the middle of a sentence may leave arguments out, also an option's. WORDS IN CAPITALS stand for what the reader puts in
their place.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.exceptions import TyperException

from app.cli.main import main
from tests.house.sources import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
ALERTS = ROOT / "packaging/prometheus/holdfast-alerts.yml"
_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(holdfast [^`]+)`")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_.:-]*")
_ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "2>", "&"}


@dataclass(frozen=True)
class Told:
    """One command as it is told. `whole`: to be typed as it stands."""

    words: tuple[str, ...]
    whole: bool


def commands_of_block(block: str) -> Iterator[tuple[str, ...]]:
    """Those of a shell block, without what a shell does around them; what is in [brackets] may be left out."""
    for line in re.sub(r"[\[\]]", "", block.replace("\\\n", " ")).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words = list(lexer)
        for at, word in enumerate(words):
            if word == "holdfast" and (
                at == 0 or words[at - 1] in {*_ENDS, "("} or words[at - 2 : at] == ["./dev", "run"]
            ):
                rest = words[at + 1 :]
                end = next((i for i, w in enumerate(rest) if w in {*_ENDS, ")"}), len(rest))
                yield tuple(rest[:end])


def commands_of_page(text: str) -> Iterator[Told]:
    """All that a Markdown page tells."""
    for block in _BLOCK.findall(text):
        for words in commands_of_block(block):
            yield Told(words, whole=True)
    for span in _SPAN.findall(re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)):
        yield from _spans(" ".join(span.split()))


def _spans(span: str) -> Iterator[Told]:
    """`a|b` in a sentence is two commands in one."""
    for words in commands_of_block(span.replace("|", "/")):
        several = [word.split("/") if re.fullmatch(r"[a-z-]+(/[a-z-]+)+", word) else [word] for word in words]
        for n in range(max(map(len, several), default=0)):
            yield Told(tuple(word[min(n, len(word) - 1)] for word in several), whole=False)


def complaint(told: Told) -> str:
    """What the parser says against it; empty for nothing. A placeholder may stand for a text or for a number."""
    said = ""
    for number in (None, "1"):
        words = [number if number and _PLACEHOLDER.fullmatch(word) else word for word in told.words]
        try:
            _parse(_program(), "holdfast", words)
        except typer.Exit:
            return ""  # `--version`, and the like
        except TyperException as error:
            kind = type(error).__name__
            if kind in ("MissingParameter", "BadOptionUsage") and not told.whole:
                return ""
            said = said or f"holdfast {' '.join(told.words)}: {getattr(error, 'message', '') or error or kind}"
        else:
            return ""
    return said


@cache
def _program() -> Any:
    return typer.main.get_command(main)


def _parse(command: Any, name: str, words: list[str], parent: Any = None) -> None:
    if hasattr(command, "resolve_command"):
        if not words:
            return
        context = command.make_context(name, list(words), parent=parent)
        rest = [*context._protected_args, *context.args]
        found, inner, rest = command.resolve_command(context, rest)
        _parse(inner, found, rest, context)
        return
    command.make_context(name, words, parent=parent)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_of_the_page_parses(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    wrong = [said for told in commands_of_page(page.read_text(encoding="utf-8")) if (said := complaint(told))]
    assert not wrong, "\n".join(wrong)


def test_every_command_of_the_alerts_parses() -> None:
    wrong = [said for told in commands_of_page(ALERTS.read_text(encoding="utf-8")) if (said := complaint(told))]
    assert not wrong, "\n".join(wrong)


def test_every_command_that_the_program_tells_parses() -> None:
    """The doctor's fixes, errors, and what a command says should follow."""
    told: list[Told] = []
    for file in sorted((ROOT / "app").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docs = {id(d.body[0].value) for d in ast.walk(tree) if _has_docstring(d)}  # type: ignore[attr-defined]
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                told += commands_of_page(node.value)
    assert len(told) > 20
    wrong = [said for one in told if (said := complaint(one))]
    assert not wrong, "\n".join(wrong)


def _has_docstring(node: ast.AST) -> bool:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, kinds) and ast.get_docstring(node) is not None


@pytest.mark.parametrize(
    "words",
    [
        "cluster upgrad 1.0",
        "cluster upgrade",
        "cluster upgrade 1.0 2.0",
        "node list --jsn",
        "vm create a --plan",
        "nodes list",
    ],
)
def test_what_does_not_parse_is_found(words: str) -> None:
    assert complaint(Told(tuple(words.split()), whole=True))


def test_what_stands_around_a_command_is_not_of_it() -> None:
    block = "T=$(holdfast token list --json | jq .)\necho x && holdfast node list > out\nholdfast vm list \\\n  --all\n"
    assert list(commands_of_block(block)) == [("token", "list", "--json"), ("node", "list"), ("vm", "list", "--all")]
    assert list(commands_of_page("see `holdfast node drain|return` and `holdfast-agent`")) == [
        Told(("node", "drain"), whole=False), Told(("node", "return"), whole=False),
    ]  # fmt: skip
