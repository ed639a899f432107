"""SQLite on a single node: schema, settings, and writers that wait for each other."""

import json
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from app.adapters.db import engines, schema
from app.adapters.db import store as store_module
from app.adapters.db.engines import open_engine
from app.adapters.db.store import SqlStore
from app.domain.errors import Conflict
from app.domain.records import Project
from tests.ports.store_samples import full_vm


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'state 100%.db'}"
    schema.upgrade(url)
    return url


def test_the_migrated_schema_is_that_of_the_tables(url: str) -> None:
    engine = open_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []
        without = connection.exec_driver_sql(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%AUTOINCREMENT%'"
            " AND name NOT LIKE 'sqlite_%' AND name <> 'alembic_version'"
        ).all()
        assert without == []


def test_upgrade_can_be_repeated_and_current_tells(tmp_path: Path, url: str) -> None:
    assert schema.current(f"sqlite:///{tmp_path / 'new.db'}") is None
    assert schema.current(url) == "0006"
    store = SqlStore([url])
    store.run(lambda tx: tx.projects.add(Project(0, "kept")))
    schema.upgrade(url)
    assert [row.name for row in store.run(lambda tx: tx.projects.where())] == ["kept"]


def test_what_a_newer_version_wrote_stays(url: str) -> None:
    """In a rolling upgrade a node of the version before saves a VM: the policy that it does not know is still there."""
    store = SqlStore([url])
    vm = store.run(lambda tx: tx.vms.add(full_vm()))
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        raw.execute("UPDATE vms SET ha = json_set(ha, '$.of_tomorrow', json('[1, 2]'))")
    raw.close()
    changed = replace(vm, ha=replace(vm.ha, guest_silence_seconds=7.0, waits_for=()))
    store.run(lambda tx: tx.vms.save(changed))
    assert store.run(lambda tx: tx.vms.get(vm.id)) == changed
    with sqlite3.connect(url.removeprefix("sqlite:///")) as raw:
        ((text,),) = raw.execute("SELECT ha FROM vms").fetchall()
    raw.close()
    assert json.loads(text)["of_tomorrow"] == [1, 2]


def test_settings(url: str) -> None:
    with open_engine(url).connect() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in
                 ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}  # fmt: skip
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "postgresql://x/y", "mariadb+pymysql://x/y", "x"])
def test_urls_that_cannot_work_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"SQLite in memory|a database URL begins with"):
        open_engine(url)


def test_a_writer_waits_for_another(url: str) -> None:
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    store = SqlStore([url])
    started = threading.Event()

    def work() -> None:
        started.set()
        store.run(lambda tx: tx.projects.add(Project(0, "second")))

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(5)
    other.execute("INSERT INTO projects (name, vms_max) VALUES ('first', 0)")
    other.execute("COMMIT")
    other.close()
    thread.join(10)
    assert [row.name for row in store.run(lambda tx: tx.projects.where())] == ["first", "second"]


def test_a_writer_that_never_gets_its_turn_says_conflict(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(store_module, "TRY_SECONDS_MAX", 0.2)
    store = SqlStore([url])
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    calls: list[int] = []
    with pytest.raises(Conflict, match="try again"):
        store.run(lambda tx: calls.append(1))
    assert calls == []
    other.close()
    store.run(lambda tx: calls.append(1))
    assert calls == [1]
