"""docs/api.md, run as a reader would: each block in a shell against `holdfast api --dev`, each answer compared.

An answer in the page is a part of the real one: what it shows must be there, with that value.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.newcomers_api import newcomers_api
from tests.house.sources import ROOT

GUIDE = ROOT / "docs/api.md"
_BLOCK = re.compile(r"^```(sh|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(r"\{.*\}", re.DOTALL)


def _steps() -> list[tuple[str, Any]]:
    """(script, the answer that the page shows for it, or None)."""
    steps: list[tuple[str, Any]] = []
    for kind, text in _BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        if kind == "sh":
            steps.append((text, None))
        else:
            steps[-1] = (steps[-1][0], json.loads(text))
    return steps


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the page tells its reader to export."""
    assert shutil.which("curl"), "apt install curl"
    with newcomers_api(tmp_path) as api:
        tokens = api.tokens
        yield {
            "HOLDFAST_API": api.url,
            "HOLDFAST_TOKEN": tokens["project_token"],
            "HOLDFAST_ADMIN": tokens["admin_token"],
        }


def _differences(shown: Any, real: Any, where: str = "") -> list[str]:
    """Where the page shows what the API does not say."""
    if isinstance(shown, dict):
        if not isinstance(real, dict):
            return [f"{where} is {real!r}"]
        missing = [f"{where}.{k} is not there" for k in shown if k not in real]
        return missing + [d for k in shown if k in real for d in _differences(shown[k], real[k], f"{where}.{k}")]
    if isinstance(shown, list):
        if not isinstance(real, list) or len(shown) != len(real):
            return [f"{where} has {real!r}"]
        return [
            d for i, (s, r) in enumerate(zip(shown, real, strict=True)) for d in _differences(s, r, f"{where}[{i}]")
        ]
    return [] if shown == real else [f"{where} is {real!r}, not {shown!r}"]


def test_every_example_of_the_page_does_what_the_page_says(environment: dict[str, str]) -> None:
    steps = _steps()
    assert len(steps) > 15
    for script, shown in steps:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        if shown is not None:
            found = _OUTPUT.search(done.stdout)
            assert found, f"{script}\nanswered {done.stdout!r}"
            assert not _differences(shown, json.loads(found.group())), f"{script}\nanswered {done.stdout}"


def test_the_page_names_only_paths_that_exist() -> None:
    from app.adapters.sim.store import MemoryStore
    from app.adapters.system.clock import SystemClock
    from app.api import ApiDeps, create_api

    api = create_api(ApiDeps(MemoryStore(), SystemClock(), lambda _: None))
    known = [re.compile(re.sub(r"\{\w+\}", "[^/]+", p)) for p in api.openapi()["paths"]]
    named = set(re.findall(r"\$HOLDFAST_API(/[a-z0-9_/-]+)", GUIDE.read_text(encoding="utf-8")))
    assert len(named) > 10
    assert not [path for path in named if not any(k.fullmatch(path) for k in known)]
