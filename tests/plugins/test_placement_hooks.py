"""A plugin takes part in placement, and one that misbehaves changes nothing."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from app.domain.recovery import plan_recovery
from app.plugin_api import placement_hooks
from app.plugin_api.registry import PluginError, Registry
from tests.domain.make import lost, node, view, vm

MODULE = "hf_test_placement"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / f"{MODULE}.py"
    sys.modules.pop(MODULE, None)


def _registry(place: Path, text: str) -> Registry:
    place.write_text("from app.plugin_api import *\nimport threading\n" + text)
    return Registry.load([EntryPoint("picky", MODULE, "holdfast.placement")])


def _planned(registry: Registry) -> list[str]:
    """Where the VM of n1 goes; without any plugin that is n2."""
    cluster = view([lost("n1"), node("n2"), node("n3")], [vm(1, "n1")])
    plan = plan_recovery(replace(cluster, advice=registry.placement_advice()), "n1")
    return [a.node for a in plan.assigned]


def test_a_filter_and_a_score_count(place: Path) -> None:
    filter_ = "@hookimpl\ndef holdfast_placement_filter(nodes):\n    return {'n2': 'is too hot'}\n"
    assert _planned(_registry(place, filter_)) == ["n3"]
    sys.modules.pop(MODULE)
    score = "@hookimpl\ndef holdfast_placement_score(vm, nodes):\n    return {n.name: n.id for n in nodes}  # by id\n"
    assert _planned(_registry(place, score)) == ["n3"]


@pytest.mark.parametrize(
    "body",
    [
        "raise RuntimeError('no')",
        "return 7",
        "return {'n2': 3}",
        "return {2: 'x'}",
        "return None",
        "return {'n9': 'x'}",
    ],
)
def test_a_filter_that_misbehaves_is_ignored(place: Path, body: str) -> None:
    text = f"@hookimpl\ndef holdfast_placement_filter(vm, nodes):\n    {body}\n"
    assert _planned(_registry(place, text)) == ["n2"]


@pytest.mark.parametrize("body", ["return {'n3': float('nan')}", "return {'n3': True}", "return {'n3': 'much'}"])
def test_a_score_that_misbehaves_is_ignored(place: Path, body: str) -> None:
    text = f"@hookimpl\ndef holdfast_placement_score(vm, nodes):\n    {body}\n"
    assert _planned(_registry(place, text)) == ["n2"]


def test_a_hook_that_hangs_is_asked_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement_hooks, "ANSWER_SECONDS_MAX", 0.05)
    text = (
        "asked, go = [], threading.Event()\n@hookimpl\ndef holdfast_placement_filter(vm, nodes):\n"
        "    asked.append(vm)\n    go.wait(30)\n    return {}\n"
    )
    registry = _registry(place, text)
    cluster = view([lost("n1"), node("n2")], [vm(i, "n1") for i in range(1, 5)])
    plan = plan_recovery(replace(cluster, advice=registry.placement_advice()), "n1")
    assert len(plan.assigned) == 4
    assert len(sys.modules[MODULE].asked) == 1
    sys.modules[MODULE].go.set()


def test_a_placement_plugin_without_a_hook_is_refused(place: Path) -> None:
    with pytest.raises(PluginError, match="has neither holdfast_placement_filter nor holdfast_placement_score"):
        _registry(place, "x = 1\n")


def test_without_plugins_there_is_no_advice() -> None:
    assert Registry.load([]).placement_advice() is None
