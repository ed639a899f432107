"""The project's own source files, parsed once."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("app", "plugins", "migrations")


@cache
def python_files(*rooms: str) -> tuple[Path, ...]:
    """The Python files of these top-level rooms, by name."""
    return tuple(sorted(p for room in rooms for p in (ROOT / room).rglob("*.py")))


@cache
def tree(file: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def name(file: Path) -> str:
    """As a reader knows it."""
    return str(file.relative_to(ROOT))
