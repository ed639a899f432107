"""The papers of the house: decisions, dependencies, scenarios, the README's commands."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from typer.main import get_command

from app.cli.main import main
from tests.house.anchors import anchors
from tests.house.sources import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))


def _pyproject() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _declared() -> set[str]:
    found = (Requirement(r) for r in requires("holdfast") or ())
    return {re.sub(r"[-_.]+", "-", r.name).lower() for r in found}


def test_decisions_are_numbered_without_a_double_and_say_what_they_are() -> None:
    numbers = [f.name[:4] for f in DECISIONS]
    assert numbers == [f"{i + 1:04}" for i in range(len(DECISIONS))]
    for file in DECISIONS:
        first = file.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith(f"# {int(file.name[:4])}. "), file.name


def test_every_dependency_earns_its_line_and_is_pinned() -> None:
    lines = (ROOT / "docs/decisions/0002-dependencies.md").read_text(encoding="utf-8").lower()
    pins = (ROOT / "packaging/constraints.txt").read_text(encoding="utf-8").lower().replace("_", "-")
    for wanted in _declared():
        assert wanted in lines, f"{wanted} has no line in docs/decisions/0002-dependencies.md"
        assert re.search(rf"^{re.escape(wanted)}==", pins, re.MULTILINE), f"{wanted} has no pin"


def test_the_readme_names_only_commands_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "./dev demo" in text
    assert "./dev test" in text
    dev = (ROOT / "dev").read_text(encoding="utf-8")
    for word in set(re.findall(r"\./dev ([a-z-]+)", text)):
        assert re.search(rf"^  {word}\)", dev, re.MULTILINE), f"./dev {word} is no command"
    known = {words[0] for words in _commands(get_command(main))}
    for word in set(re.findall(r"`holdfast ([a-z]+)", text)):
        assert word in known, f"holdfast {word} is no command"


def _commands(group: Any, words: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every command and group, word by word."""
    found = {(*words, name) for name in group.commands}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= _commands(command, (*words, name))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_pages_name_only_commands_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = _commands(get_command(main))
    for line in re.findall(r"(?:`|^)holdfast ((?:[a-z][a-z-]* ?)+)", text, re.MULTILINE):
        words = tuple(line.split())
        fits = [c for c in known if c == words[: len(c)]]
        assert fits, f"{page.name}: holdfast {line} is no command"
        longest = max(fits, key=len)
        inside = any(c[: len(longest)] == longest and len(c) > len(longest) for c in known)
        assert not inside or len(words) == len(longest), f"{page.name}: holdfast {line} is no command"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target} is not there"
        assert not anchor or anchor in anchors(there), f"{page.name}: {path} has no section #{anchor}"


def test_every_scenario_tells_its_story() -> None:
    directories = [d for d in (ROOT / "tests/scenarios").iterdir() if (d / "cluster.toml").exists()]
    assert directories
    for directory in directories:
        assert {"script.txt", "expected.log"} <= {f.name for f in directory.iterdir()}, directory.name
        first = (directory / "script.txt").read_text(encoding="utf-8").splitlines()[0]
        assert re.match("# .{30}", first), f"{directory.name}: the first line tells the story"


def test_ci_runs_what_the_readme_says() -> None:
    assert "./dev test" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert _pyproject()["project"]
