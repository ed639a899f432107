"""Rolling upgrades, as operators ask for them: API and command."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version as installed
from typing import Any

import httpx
import pytest
import structlog
from typer.testing import CliRunner, Result

from app.adapters.sim.store import MemoryStore
from app.cli import http
from app.cli.main import main
from app.domain.rolling_steps import Turn, Verb
from app.ports.store import Store, Transaction
from app.services.advance_rolling import advance_rolling
from app.services.drain_node import drain_node
from app.services.load_view import current_run
from app.services.start_rolling import start_upgrade
from tests.api.conftest import Api, error_of
from tests.api.live import LiveApi
from tests.domain.make import WHEN

PATH = "/admin/v1/upgrade"
MINE = installed("holdfast")


def _runs(version: str, *but: str) -> Callable[[Transaction], None]:
    """All nodes say that they run that version."""

    def work(tx: Transaction) -> None:
        for node in tx.nodes.where():
            if node.name not in but:
                tx.nodes.save(replace(node, version=version))

    return work


def _ends(store: Store, verb: Verb, why: str) -> None:
    store.run(lambda tx: advance_rolling(tx, 0, Turn(current_run(tx).turns, verb, "", why), WHEN))


def test_the_plan_leaves_out_who_has_it(api: Api) -> None:
    api.store.run(_runs("1.0"))
    names = [n["name"] for n in api.call("GET", "/admin/v1/nodes").json()["nodes"]]
    answer = api.call("GET", f"{PATH}/plan?version=1.1&per_page=2").json()
    assert answer["meta"]["pagination"]["total_entries"] == len(names)
    api.store.run(_runs("1.1", names[0]))
    (row,) = api.call("GET", f"{PATH}/plan?version=1.1").json()["nodes"]
    assert (row["node"], row["step"]) == (names[0], 1)
    assert api.call("GET", f"{PATH}/plan?version=1.1&node={names[1]}").json()["nodes"] == []


def test_a_run_is_begun_and_said_again_it_is_the_same(api: Api) -> None:
    api.store.run(_runs("1.0"))
    answer = api.call("POST", PATH, {"version": "1.1"})
    assert answer.status_code == 201
    begun = answer.json()["upgrade"]
    assert (begun["state"], begun["version"], begun["step"]) == ("running", "1.1", None)
    assert api.call("POST", PATH, {"version": "1.1"}).json()["upgrade"] == begun
    error_of(api.call("POST", PATH, {"version": "1.2"}), 422, "unsupported_error")
    assert api.call("GET", PATH).json()["upgrade"] == begun
    assert api.call("POST", "/admin/v1/rolling/stop").json()["rolling"]["state"] == "stopped"


def test_bad_requests_are_refused(api: Api) -> None:
    for version in ("", "newest", "1.0; reboot", "1.0+deb12", "../../1"):
        assert api.call("POST", PATH, {"version": version}).status_code == 422, version
    assert api.call("POST", PATH, {}).status_code == 422
    assert api.call("GET", f"{PATH}/plan").status_code == 422
    error_of(api.call("POST", PATH, {"version": "1.0", "nodes": ["nowhere"]}), 404, "not_found")
    assert api.call("POST", PATH, {"version": "1.0"}, token=api.tokens.project).status_code in (401, 403)
    assert api.call("POST", f"{PATH}/finish", token=api.tokens.project).status_code in (401, 403)


def test_the_schema_is_contracted_only_when_every_node_is_there(api: Api) -> None:
    contracted: list[str] = []

    def contract() -> Sequence[str]:
        contracted.append("0009")
        return contracted

    api.reopen(contract_schema=contract)
    name = api.call("GET", "/admin/v1/nodes").json()["nodes"][0]["name"]
    api.store.run(_runs(MINE, name))
    said = error_of(api.call("POST", f"{PATH}/finish"), 422, "unsupported_error")
    assert f"this API is of version {MINE}, but {name} runs an unknown version" in said["message"]
    assert contracted == []
    api.store.run(_runs(MINE))
    done = api.call("POST", f"{PATH}/finish").json()["upgrade"]
    assert done == {"version": MINE, "contracted": ["0009"]}
    rows = [row for row in api.store.run(lambda tx: tx.audit.where()) if row.path == f"{PATH}/finish"]
    assert [row.status_code for row in rows] == [422, 204], "who asked, and what came of it"


@pytest.fixture
def live() -> Iterator[LiveApi]:
    with structlog.testing.capture_logs(), LiveApi(MemoryStore(), agents=False) as api:
        yield api


def _holdfast(live: LiveApi, *words: str) -> Result:
    env = {"HOLDFAST_API": live.url, "HOLDFAST_TOKEN": live.tokens.admin, "COLUMNS": "250"}
    return CliRunner().invoke(main, ("cluster", "upgrade", *words), env=env)


def test_the_command_watches_to_the_end_and_finishes(live: LiveApi) -> None:
    live.store.run(_runs("0.0.1"))
    rows = json.loads(_holdfast(live, MINE, "--plan", "--json").stdout)
    assert [r["step"] for r in rows] == list(range(1, len(rows) + 1))
    assert live.store.run(current_run).state.value == "none", "a plan begins nothing"

    _begin(live)
    other = threading.Thread(target=_ends_well, args=(live.store,))
    other.start()
    said = _holdfast(live, MINE)
    other.join()
    assert said.exit_code == 0, said.output
    assert "done: 3 nodes were upgraded" in said.stdout
    assert "every node runs it" in said.stdout
    again = json.loads(_holdfast(live, MINE, "--json").stdout)
    assert (again["state"], again["behind"]) == ("done", [])


def _begin(live: LiveApi) -> None:
    """A first command that was interrupted: the run goes on without it."""
    live.store.run(lambda tx: start_upgrade(tx, MINE, (), WHEN))


def _ends_well(store: Store) -> None:
    """What the cluster does meanwhile."""
    store.run(_runs(MINE))
    _ends(store, Verb.FINISH, "3 nodes were upgraded")


def test_a_run_that_stops_is_an_exit_code_of_1_and_says_why(live: LiveApi) -> None:
    live.store.run(_runs("0.0.1"))
    _begin(live)
    _ends(live.store, Verb.STOP, "n1 cannot be upgraded")
    live.store.run(lambda tx: drain_node(tx, tx.nodes.where()[0].name, WHEN))
    refused = _holdfast(live, MINE)
    assert refused.exit_code == 1
    assert "is in maintenance already" in refused.stderr
    assert "in maintenance already" in _holdfast(live, MINE, "--plan").stdout


def test_an_api_that_stays_away_is_given_up(live: LiveApi, monkeypatch: pytest.MonkeyPatch) -> None:
    live.store.run(_runs("0.0.1"))
    monkeypatch.setattr(http, "PATIENCE_SECONDS", 0.0)
    asked = httpx.Client.request

    def nobody(client: httpx.Client, method: str, url: str, **arguments: Any) -> httpx.Response:
        if method == "GET":
            raise httpx.ConnectError("refused")
        return asked(client, method, url, **arguments)

    monkeypatch.setattr(httpx.Client, "request", nobody)
    said = _holdfast(live, MINE)
    assert said.exit_code == 3
    assert "the upgrade goes on: say the same again" in said.stderr
