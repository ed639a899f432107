"""Rooms stay small, and are named for what they know."""

import ast
import re

from tests.house.sources import PRODUCT, ROOT, name, python_files, tree

LINES_MAX = 400
FUNCTION_LINES_MAX = 70
_SAYS_NOTHING = re.compile(r"(Manager|Helper|Handler|Utils?)$")
_TOP_LEVEL = {"app", "plugins", "migrations", "tests", "packaging", "docs"}


def test_no_file_outgrows_its_room() -> None:
    large = {name(f): n for f in python_files(*PRODUCT) if (n := len(f.read_text().splitlines())) > LINES_MAX}
    assert not large, "split by what it knows, not by size"


def test_no_function_is_longer_than_a_page() -> None:
    long = [
        f"{name(f)}:{node.lineno} {node.name}"
        for f in python_files("app", "plugins")
        for node in ast.walk(tree(f))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert not long


def test_no_class_has_a_name_that_says_nothing() -> None:
    found = [
        f"{name(f)}:{node.lineno} {node.name}"
        for f in python_files(*PRODUCT, "tests")
        for node in ast.walk(tree(f))
        if isinstance(node, ast.ClassDef) and _SAYS_NOTHING.search(node.name)
    ]
    assert not found


def test_no_module_is_a_drawer() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [name(f) for f in python_files(*PRODUCT) if drawers & {f.stem, *f.relative_to(ROOT).parts[:-1]}]


def test_top_level_is_what_the_contributing_page_says() -> None:
    found = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))}
    unexpected = found - _TOP_LEVEL - {"build", "dist"} - {p for p in found if p.endswith(".egg-info")}
    assert not unexpected


def test_every_public_thing_says_what_it_is() -> None:
    """Module, public class and public function: one docstring each, where the words of the field go."""
    silent = [
        f"{name(f)}:{getattr(node, 'lineno', 1)} {getattr(node, 'name', 'the module')}"
        for f in python_files("app/domain", "app/ports", "app/plugin_api", "app/services")
        for node in _public(tree(f))
        if ast.get_docstring(node) is None
    ]
    assert not silent


def _public(module: ast.Module) -> list[ast.Module | ast.ClassDef | ast.FunctionDef]:
    found: list[ast.Module | ast.ClassDef | ast.FunctionDef] = [module]
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            found.append(node)
    return found
