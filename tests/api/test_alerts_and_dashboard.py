"""Alerts and dashboard against what `/metrics` really says: a misspelt metric is an alert that never fires.

That Prometheus itself takes the rules, and that they fire when they should, is `promtool`'s to say: `./dev test-deb`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client.samples import Sample

from app.adapters.sim.store import MemoryStore
from tests.api.conftest import Api
from tests.api.full_scrape import families_of, populate, scrape
from tests.house.anchors import anchors
from tests.house.sources import ROOT

RULES = ROOT / "packaging/prometheus/holdfast-alerts.yml"
DASHBOARD = ROOT / "packaging/prometheus/holdfast-dashboard.json"
#: Prometheus' own, about each scrape
OWN = {"up"}
#: what Prometheus adds to every sample
ADDED = {"instance", "job"}


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return panels


def _expressions() -> Iterator[Any]:
    for rule in _rules():
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in _panels():
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")


def _parts(expression: str) -> list[promql.Expr]:
    found: list[promql.Expr] = []
    promql.walk(promql.parse(expression), found.append)
    return found


@pytest.fixture(scope="module")
def samples() -> dict[str, list[Sample]]:
    """Of a cloud in which everything has happened, a request that failed too."""
    api = Api(MemoryStore())
    populate(api)
    api.fail_once("/readyz")
    found: dict[str, list[Sample]] = {}
    for family in families_of(scrape(api)).values():
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def _chosen(selector: promql.VectorSelector, samples: list[Sample]) -> list[Sample]:
    def fits(sample: Sample) -> bool:
        return all(_matches(m, sample.labels.get(m.name, "")) for m in selector.matchers.matchers)

    return [sample for sample in samples if fits(sample)]


def _matches(matcher: promql.Matcher, said: str) -> bool:
    same = said == matcher.value
    if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        return same if matcher.op == promql.MatchOp.Equal else not same
    found = re.fullmatch(matcher.value, said) is not None
    return found if matcher.op == promql.MatchOp.Re else not found


@pytest.mark.parametrize("expression", list(_expressions()))
def test_every_selector_chooses_something_that_is_told(expression: str, samples: dict[str, list[Sample]]) -> None:
    selectors = [part for part in _parts(expression) if isinstance(part, promql.VectorSelector)]
    assert selectors
    labels: set[str] = set(ADDED)
    for selector in selectors:
        if selector.name in OWN:
            continue
        assert selector.name in samples, f"/metrics has no {selector.name}"
        chosen = _chosen(selector, samples[selector.name])
        assert chosen, f"{selector.name}{selector.matchers} chooses nothing of {samples[selector.name]}"
        labels |= set(chosen[0].labels)
    for part in _parts(expression):
        if isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            assert set(part.modifier.labels) <= labels, f"no metric of {expression} has these labels"


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    known = anchors(ROOT / "docs/operations.md")
    names = [rule["alert"] for rule in _rules()]
    assert len(names) == len(set(names))
    for rule in _rules():
        name = rule["alert"]
        assert name.startswith("Holdfast")
        assert rule["labels"]["severity"] in ("warning", "critical"), name
        assert rule["annotations"]["summary"], name
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md", name
        assert anchor in known, f"{name}: docs/operations.md has no section #{anchor}"


def test_every_condition_that_operators_must_know_of_has_an_alert() -> None:
    told = {part.name for rule in _rules() for part in _parts(rule["expr"]) if isinstance(part, promql.VectorSelector)}
    assert told >= {
        "holdfast_node_state", "holdfast_node_condition", "holdfast_incidents_open", "holdfast_vms",
        "holdfast_disarmed_seconds",
        "holdfast_fence_check_failing", "holdfast_watchdog_margin_seconds", "holdfast_storage_path_active",
        "holdfast_guarantee_kept", "holdfast_outbox_given_up", "holdfast_up", "holdfast_agent_up", "libvirt_up",
    }  # fmt: skip


def test_the_dashboard_can_be_imported() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert board["uid"]
    assert [v["type"] for v in board["templating"]["list"]] == ["datasource"]
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("file", [RULES, DASHBOARD])
def test_the_package_installs_it(file: Path) -> None:
    rules = (ROOT / "packaging/debian/rules").read_text(encoding="utf-8")
    assert f"packaging/prometheus/{file.name} $(ROOT)/usr/share/holdfast/prometheus/{file.name}" in rules
