"""The API over each store that a single machine can have: in memory, and SQLite."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.adapters.db import schema
from app.adapters.db.store import SqlStore
from app.adapters.sim.store import MemoryStore
from app.api import ApiDeps, create_api
from app.ports.store import Store, StoreUnavailable
from tests.api.live import Tokens, furnish, look_around


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schema, made once: every migration for every test would be most of the time."""
    file = tmp_path_factory.mktemp("schema") / "holdfast.db"
    schema.upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Iterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    url = f"sqlite:///{tmp_path}/holdfast.db"
    shutil.copy(empty_database, tmp_path / "holdfast.db")
    sql = SqlStore([url])
    yield sql
    sql.close()


class TestClock:
    """A clock that a test moves. Not a test."""

    __test__ = False

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def monotonic(self) -> float:
        return self.now.timestamp()

    def utc(self) -> datetime:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Api:
    """The API in this process, and what stands behind it."""

    store: Store
    clock: TestClock = field(default_factory=TestClock)
    signals: list[int | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tokens: Tokens = furnish(self.store)
        self.deps = ApiDeps(self.store, self.clock, self.signals.append)
        self.reopen()

    def reopen(self, **changes: Any) -> None:
        """Another process of the same API, with other parts."""
        self.deps = replace(self.deps, **changes)
        self._client = TestClient(create_api(self.deps), base_url="http://api")

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **more: Any
    ) -> httpx2.Response:
        """As the first project's customer, unless a token is given; the operator for paths in /admin."""
        mine = self.tokens.admin if path.startswith("/admin") else self.tokens.project
        headers = {"Authorization": f"Bearer {mine if token is None else token}", **more.pop("headers", {})}
        if body is not None:
            more["json"] = body
        answer: httpx2.Response = self._client.request(method, path, headers=headers, **more)
        return answer

    def create(self, name: str = "web", **more: Any) -> dict[str, Any]:
        """The answer to a creation that works."""
        body = {"name": name, "server_type": "small", "image": "debian-12", **more}
        answer = self.call("POST", "/v1/servers", body)
        assert answer.status_code == 201, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def fail_once(self, path: str) -> httpx2.Response:
        """One request while the database is gone."""
        real = self.deps.store

        class Gone:
            def run(self, work: object) -> Any:
                raise StoreUnavailable("gone")

        object.__setattr__(self.deps, "store", Gone())
        try:
            return self.call("GET", path)
        finally:
            object.__setattr__(self.deps, "store", real)

    def look(self) -> None:
        """The agents do what is wanted and say so."""
        look_around(self.store, now=self.clock.now)


@pytest.fixture
def api(store: Store) -> Api:
    return Api(store)


def error_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The error, after a look at its shape."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"code", "message", "details"}
    assert error["code"] == code, error
    assert len(error["message"]) > 10
    assert answer.headers["X-Correlation-Id"]
    assert "Traceback" not in answer.text
    return error
