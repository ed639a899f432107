"""Who watches outlives an API that is away for a while; who asks for something is told soon."""

from collections.abc import Callable

import httpx
import pytest
import typer

from app.cli import http
from app.cli.drain import wait_for_drain
from app.cli.http import PATIENCE_SECONDS, POLL_SECONDS, TRIES, UNREACHABLE, Api, pause_since

GOES_ON = "the drain goes on"
AWAY = TRIES + 4


class Away:
    """An API that fails so many times before each answer, and what it was asked."""

    def __init__(self, times: int, fails: Callable[[httpx.Request], httpx.Response]) -> None:
        self.asked: list[str] = []
        self._times = self._left = times
        self._fails = fails

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self._left:
            self._left -= 1
            return self._fails(request)
        self._left = self._times
        drain = {"node": "n1", "draining": True, "done": True, "moving": 0, "waiting": 0, "stuck": 0}
        return httpx.Response(200, json={"drain": drain})


def _too_late(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("timed out", request=request)


def _not_now(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503, json={"error": {"code": "unavailable", "message": "the database is away"}})


def _api(away: Away) -> Api:
    return Api(httpx.Client(transport=httpx.MockTransport(away), base_url="http://holdfast"))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TRY_AGAIN_SECONDS", 0.0)


@pytest.mark.parametrize("fails", [_too_late, _not_now])
def test_a_drain_is_watched_on_when_the_api_was_away(
    fails: Callable[[httpx.Request], httpx.Response], capsys: pytest.CaptureFixture[str]
) -> None:
    away = Away(AWAY, fails)
    cloud = _api(away)
    with cloud.patient(GOES_ON):
        assert wait_for_drain(cloud, "n1", 60, show=False)["done"]
    assert len(away.asked) == AWAY + 1
    told = capsys.readouterr().err.splitlines()
    assert told == [f"holdfast: the API does not answer; asking again for up to {PATIENCE_SECONDS:.0f} s"]


@pytest.mark.parametrize("fails", [_too_late, _not_now])
def test_patience_ends_and_says_what_goes_on(
    fails: Callable[[httpx.Request], httpx.Response], capsys: pytest.CaptureFixture[str]
) -> None:
    away = Away(AWAY, fails)
    cloud = _api(away)
    with pytest.raises(typer.Exit) as ended, cloud.patient(GOES_ON, at_most_seconds=0):
        wait_for_drain(cloud, "n1", 60, show=False)
    assert ended.value.exit_code == UNREACHABLE
    assert GOES_ON in capsys.readouterr().err
    assert len(away.asked) == TRIES


def test_who_does_not_watch_is_told_after_a_few_tries() -> None:
    away = Away(AWAY, _too_late)
    cloud = _api(away)
    with cloud.patient(GOES_ON):
        assert cloud.get("/v1/first")["drain"]["done"]
    away.asked.clear()
    with pytest.raises(typer.Exit):
        cloud.get("/v1/second")
    assert len(away.asked) == TRIES


def test_an_action_is_waited_for_no_longer_than_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    away = Away(AWAY, _too_late)
    action = {"id": 1, "status": "running", "command": "create_server", "error": None}
    with pytest.raises(typer.Exit) as ended:
        _api(away).wait([action], POLL_SECONDS)
    assert ended.value.exit_code == UNREACHABLE
    assert len(away.asked) == TRIES
    assert "create_server goes on" in capsys.readouterr().err


def test_a_slow_api_is_asked_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.http.time.monotonic", lambda: 100.0)
    assert pause_since(100.0) == POLL_SECONDS
    assert pause_since(93.0) == 7.0
    assert PATIENCE_SECONDS > http.TIMEOUT_SECONDS * TRIES
