"""`holdfast cluster disarm|arm|show` and `holdfast node confirm-dead|release`, against a real API."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog
from typer.testing import CliRunner, Result

from app.adapters.sim.store import MemoryStore
from app.cli.main import main
from app.domain.fencing import word_of_operator
from app.ports.store import Transaction
from app.services.epoch import win_epoch
from app.services.incidents import early_incident, open_incident
from app.services.load_view import current_settings
from app.services.report_fence_checks import FenceAnswer, report_fence_checks
from tests.api.live import LiveApi


@pytest.fixture
def live() -> Iterator[LiveApi]:
    with structlog.testing.capture_logs(), LiveApi(MemoryStore(), agents=False) as api:
        yield api


def _holdfast(live: LiveApi, *words: str, typed: str = "") -> Result:
    env = {"HOLDFAST_API": live.url, "HOLDFAST_TOKEN": live.tokens.admin, "COLUMNS": "200"}
    return CliRunner().invoke(main, words, env=env, input=typed)


def _word(live: LiveApi) -> str:
    incident = live.store.run(lambda tx: early_incident(tx, "n3"))
    return word_of_operator(incident) if incident else ""


def _lose_n3(live: LiveApi) -> None:
    def work(tx: Transaction) -> None:
        now = datetime.now(UTC)
        open_incident(tx, win_epoch(tx, "n1", now), "n3", 0.0, now)

    live.store.run(work)


def test_every_listing_says_loudly_that_the_cluster_is_disarmed(live: LiveApi) -> None:
    done = _holdfast(live, "cluster", "disarm", "--reason", "new switches")
    assert done.exit_code == 0, done.output
    assert not live.store.run(current_settings).armed
    for words in (
        ("node", "list"),
        ("incident", "list"),
        ("event", "list"),
        ("cluster", "show"),
        ("vm", "list", "--project", "shop"),
    ):
        said = _holdfast(live, *words)
        assert said.stderr.count("*** AUTOMATION IS DISARMED by admin since") == 1, words
        assert "new switches" in said.stderr
        assert "DISARMED by" not in said.stdout, "a program that reads stdout is not disturbed"
    assert _holdfast(live, "cluster", "arm").stderr == ""
    assert _holdfast(live, "node", "list").stderr == ""


def test_disarm_wants_a_reason(live: LiveApi) -> None:
    assert _holdfast(live, "cluster", "disarm").exit_code == 2
    assert _holdfast(live, "cluster", "disarm", "--reason", " ").exit_code == 1


def test_the_storm_guard_is_lifted(live: LiveApi) -> None:
    assert _holdfast(live, "cluster", "lift-storm-guard", "--minutes", "5").exit_code == 0
    assert live.store.run(current_settings).storm_lifted_until is not None


def test_the_name_of_a_dead_node_is_typed_after_a_warning(live: LiveApi) -> None:
    _lose_n3(live)
    words = ("node", "confirm-dead", "n3", "--reason", "I pulled its plug")
    wrong = _holdfast(live, *words, typed="n2\n")
    assert wrong.exit_code == 1
    assert "RUN TWICE" in wrong.stderr
    assert _word(live) == ""
    right = _holdfast(live, *words, typed="n3\n")
    assert right.exit_code == 0, right.output
    assert _word(live) == "admin: I pulled its plug"


def test_a_program_says_that_it_is_sure(live: LiveApi) -> None:
    refused = _holdfast(live, "node", "confirm-dead", "n3", "--reason", "x", "--yes-it-is-dead")
    assert refused.exit_code == 1
    assert "n3 is online" in refused.stderr
    _lose_n3(live)
    assert _holdfast(live, "node", "confirm-dead", "n3", "--reason", "x", "--yes-it-is-dead").exit_code == 0
    assert _word(live) == "admin: x"


def test_a_node_is_released(live: LiveApi) -> None:
    assert "n3 is not quarantined" in _holdfast(live, "node", "release", "n3").stdout
    assert _holdfast(live, "node", "release", "n9").exit_code == 1


def test_fence_devices_are_shown_and_one_that_does_not_work_is_an_error(live: LiveApi) -> None:
    def check(works: bool) -> None:
        answers = [FenceAnswer("n3", "power", works=works, said="on" if works else "login refused")]
        live.store.run(lambda tx: report_fence_checks(tx, "n1", answers, 900.0, datetime.now(UTC)))

    check(True)
    well = _holdfast(live, "node", "fence-check")
    assert well.exit_code == 0, well.output
    assert "n3" in well.stdout
    check(False)
    ill = _holdfast(live, "node", "fence-check", "n3", "--json")
    assert ill.exit_code == 1
    assert json.loads(ill.stdout)[0]["said"] == "login refused"
    assert _holdfast(live, "node", "fence-check", "n2").exit_code == 0
