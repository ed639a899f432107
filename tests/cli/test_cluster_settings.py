"""`holdfast cluster settings` against a real API on a loopback port."""

import json
from collections.abc import Iterator

import pytest
import structlog
from typer.testing import CliRunner, Result

from app.adapters.sim.store import MemoryStore
from app.cli.main import main
from app.services.load_view import current_settings
from tests.api.live import LiveApi


@pytest.fixture
def live() -> Iterator[LiveApi]:
    with structlog.testing.capture_logs(), LiveApi(MemoryStore(), agents=False) as api:
        yield api


def _holdfast(live: LiveApi, *words: str) -> Result:
    env = {"HOLDFAST_API": live.url, "HOLDFAST_TOKEN": live.tokens.admin, "COLUMNS": "200"}
    return CliRunner().invoke(main, words, env=env)


def test_they_are_shown_and_changed(live: LiveApi) -> None:
    shown = _holdfast(live, "cluster", "settings")
    assert shown.exit_code == 0, shown.output
    assert "fewest-vms" in shown.output
    changed = _holdfast(
        live,
        "cluster",
        "settings",
        "strategy=best-fit",
        "migrations_max=4",
        "rebalance=true",
        "isolated_keep_seconds=60",
        "isolated_then=keep",
        "--json",
    )
    assert changed.exit_code == 0, changed.output
    assert json.loads(changed.stdout)["strategy"] == "best-fit"
    kept = live.store.run(current_settings)
    assert (kept.strategy, kept.migrations_max, kept.rebalance) == ("best-fit", 4, True)
    assert (kept.isolated_keep_seconds, kept.isolated_then) == (60.0, "keep")


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("guarantee", 2, "write NAME=VALUE"),
        ("=1", 2, "write NAME=VALUE"),
        ("guarantee=many", 1, "invalid input in field 'guarantee'"),
        ("colour=red", 1, "'colour': is not a known field"),
        ("strategy=luck", 1, "there are fewest-vms, best-fit"),
    ],
)
def test_what_cannot_be_is_one_line_and_an_exit_code(live: LiveApi, word: str, code: int, said: str) -> None:
    result = _holdfast(live, "cluster", "settings", word)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
