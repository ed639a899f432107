"""The runner of the benchmarks: medians, ratios, promises, and what it does with words that it does not know."""

import json
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from tests.bench import __main__ as bench


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A benchmark `fake` whose figure is 3, then 1, then 2."""
    fake = ModuleType("tests.bench.fake")
    values = iter((3.0, 1.0, 2.0))
    fake.run = lambda: {"wait_ms": next(values), "half_ms": 4.0}  # type: ignore[attr-defined]
    fake.RATIOS = {"wait_to_half": ("wait_ms", "half_ms")}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tests.bench.fake", fake)
    monkeypatch.setattr(bench, "names", lambda: ["fake"])
    return fake


def _run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = bench.main(list(words))
    return code, capsys.readouterr().out


def test_medians_and_ratios(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = _run(capsys, "--json")
    report: dict[str, Any] = json.loads(out)
    assert code == 0
    assert report["benchmarks"]["fake"]["figures"]["wait_ms"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert report["benchmarks"]["fake"]["ratios"] == {"wait_to_half": 0.5}
    assert report["machine"]["cores"] >= 1
    assert report["machine"]["python"].startswith("3.")


@pytest.mark.parametrize(("kind", "limit"), [("LIMITS", 1.9), ("LEAST", 2.1)])
def test_a_promise_that_is_missed_is_said_and_an_exit_code(
    module: ModuleType, capsys: pytest.CaptureFixture[str], kind: str, limit: float
) -> None:
    setattr(module, kind, {"wait_ms": limit})
    code, out = _run(capsys)
    assert code == 1
    assert "MISSED: wait_ms is 2" in out


def test_fewer_than_three_runs_are_three(module: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = _run(capsys, "--runs", "1")
    assert code == 0
    assert "wait_ms" in out


def test_a_name_that_is_no_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        bench.main(["--only", "nothing"])
    assert refused.value.code == 2
    assert "nothing" in capsys.readouterr().err


def test_every_benchmark_here_is_found() -> None:
    assert "capacity" in bench.names()
    assert "test_bench" not in bench.names()
