"""Tests that can fail, waits for conditions, no shell strings, no secrets of a machine."""

import ast
import re
import subprocess

from tests.house.sources import PRODUCT, ROOT, name, python_files, tree

_HIDES = {"skip", "skipif", "xfail", "importorskip"}


def _calls(room: str) -> list[tuple[str, ast.Call]]:
    return [
        (f"{name(f)}:{node.lineno}", node)
        for f in python_files(room)
        for node in ast.walk(tree(f))
        if isinstance(node, ast.Call)
    ]


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    """What a machine lacks is installed by ./dev; a test that hides a missing part says nothing."""
    found = [
        f"{name(f)}:{node.lineno} {node.attr}"
        for f in python_files("tests")
        for node in ast.walk(tree(f))
        if isinstance(node, ast.Attribute) and node.attr in _HIDES and "pytest" in ast.unparse(node)
    ]
    assert not found


def test_no_test_waits_for_a_fixed_time() -> None:
    """A sleep is allowed in a loop that looks at a condition, and where its line says why."""
    bare = []
    for file in python_files("tests"):
        loops = [n for n in ast.walk(tree(file)) if isinstance(n, ast.While | ast.For)]
        in_loops = {id(n) for loop in loops for n in ast.walk(loop)}
        lines = file.read_text(encoding="utf-8").splitlines()
        bare += [
            f"{name(file)}:{node.lineno}"
            for node in ast.walk(tree(file))
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "time.sleep"
            and id(node) not in in_loops
            and "  # " not in lines[node.lineno - 1]
        ]
    assert not bare


def test_no_shell_strings() -> None:
    found = [
        where
        for room in PRODUCT
        for where, call in _calls(room)
        if any(k.arg == "shell" for k in call.keywords) or ast.unparse(call.func) in ("os.system", "os.popen")
    ]
    assert not found, "argument lists only"


def test_nothing_tracked_names_a_place_of_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    places = re.compile(r"(?<![\w.])/(?:home/\w+|work|root/\.)/")
    found = []
    for file in listed.stdout.split("\0"):
        path = ROOT / file
        if not file or not path.is_file() or path.suffix in (".png", ".svg"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{file}: {m.group(0)}" for m in places.finditer(text)]
    assert not found
