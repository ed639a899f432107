"""Rolling reboots, as operators ask for them: API and commands."""

import json
from collections.abc import Iterator

import pytest
import structlog
from typer.testing import CliRunner, Result

from app.adapters.sim.store import MemoryStore
from app.cli.main import main
from app.domain.cluster_settings import ClusterSettings
from app.domain.rolling_steps import Turn, Verb
from app.ports.store import Transaction
from app.services.advance_rolling import advance_rolling
from app.services.load_view import current_run
from tests.api.conftest import Api, error_of
from tests.api.live import LiveApi
from tests.domain.make import WHEN


def test_the_plan_has_every_node_once_and_is_paged(api: Api) -> None:
    answer = api.call("GET", "/admin/v1/rolling/plan?per_page=2").json()
    names = [n["name"] for n in api.call("GET", "/admin/v1/nodes").json()["nodes"]]
    assert answer["meta"]["pagination"]["total_entries"] == len(names)
    assert [row["step"] for row in answer["nodes"]] == [1, 2]
    assert {row["refused"] for row in answer["nodes"]} == {""}
    (row,) = api.call("GET", f"/admin/v1/rolling/plan?node={names[0]}").json()["nodes"]
    assert (row["node"], row["vms_moved"]) == (names[0], 0)
    error_of(api.call("GET", "/admin/v1/rolling/plan?node=nowhere"), 404, "not_found")


def test_a_run_is_begun_followed_and_stopped(api: Api) -> None:
    assert api.call("GET", "/admin/v1/rolling").json()["rolling"]["state"] == "none"
    answer = api.call("POST", "/admin/v1/rolling", {})
    assert answer.status_code == 201
    begun = answer.json()["rolling"]
    assert (begun["state"], begun["active"], begun["step"], begun["rebooted"]) == ("running", True, None, [])
    first = begun["pending"][0]
    assert api.signals, "the coordinator is told to look"
    error_of(api.call("POST", "/admin/v1/rolling", {}), 422, "unsupported_error")
    turns = api.store.run(current_run).turns
    turn = Turn(turns, Verb.DRAIN, first, "is emptied")
    api.store.run(lambda tx: advance_rolling(tx, 0, turn, api.clock.now))
    shown = api.call("GET", "/admin/v1/rolling").json()["rolling"]
    assert (shown["node"], shown["step"], shown["said"]) == (first, "draining", f"{first} is emptied")
    assert shown["since"].endswith("+00:00")
    stopped = api.call("POST", "/admin/v1/rolling/stop").json()["rolling"]
    assert (stopped["state"], stopped["active"], stopped["node"]) == ("stopped", False, "")


def test_bad_requests_are_refused(api: Api) -> None:
    error_of(api.call("POST", "/admin/v1/rolling", {"nodes": ["nowhere"]}), 404, "not_found")
    for body in ({"nodes": "n1"}, {"nodes": [""]}, {"force": "perhaps"}, {"node": "n1"}):
        assert api.call("POST", "/admin/v1/rolling", body).status_code == 422, body
    assert api.call("GET", "/admin/v1/rolling", token=api.tokens.project).status_code in (401, 403)
    assert api.call("GET", "/admin/v1/rolling").json()["rolling"]["state"] == "none"


@pytest.fixture
def live() -> Iterator[LiveApi]:
    with structlog.testing.capture_logs(), LiveApi(MemoryStore(), agents=False) as api:
        yield api


def _holdfast(live: LiveApi, *words: str) -> Result:
    env = {"HOLDFAST_API": live.url, "HOLDFAST_TOKEN": live.tokens.admin, "COLUMNS": "250"}
    return CliRunner().invoke(main, ("cluster", *words), env=env)


def test_the_commands(live: LiveApi) -> None:
    said = _holdfast(live, "rolling-plan")
    assert said.exit_code == 0, said.output
    assert "VMs that move" in said.stdout
    rows = json.loads(_holdfast(live, "rolling-plan", "--json").stdout)
    assert [r["step"] for r in rows] == list(range(1, len(rows) + 1))
    begun = json.loads(_holdfast(live, "rolling-reboot", "--json").stdout)
    assert begun["pending"] == [r["node"] for r in rows]
    again = _holdfast(live, "rolling-reboot")
    assert again.exit_code == 1
    assert "is under way" in again.stderr
    assert "running" in _holdfast(live, "rolling-status").stdout
    assert json.loads(_holdfast(live, "rolling-stop", "--json").stdout)["state"] == "stopped"


def test_what_the_guarantee_forbids_is_an_exit_code_of_1(live: LiveApi) -> None:
    live.store.run(lambda tx: tx.settings.save(ClusterSettings(guarantee=1)))
    said = _holdfast(live, "rolling-plan")
    assert said.exit_code == 1
    assert "breaks the guarantee of 1 more" in said.stdout
    assert _holdfast(live, "rolling-plan", "--force").exit_code == 0
    refused = _holdfast(live, "rolling-reboot")
    assert refused.exit_code == 1
    assert "No node can go" in refused.stderr


def test_a_run_that_was_stopped_says_why(live: LiveApi) -> None:
    def finish(tx: Transaction) -> None:
        advance_rolling(tx, 0, Turn(current_run(tx).turns, Verb.STOP, "", "n1 did not come back"), WHEN)

    assert _holdfast(live, "rolling-reboot").exit_code == 0
    live.store.run(finish)
    shown = json.loads(_holdfast(live, "rolling-status", "--json").stdout)
    assert (shown["state"], shown["said"]) == ("stopped", "n1 did not come back")
