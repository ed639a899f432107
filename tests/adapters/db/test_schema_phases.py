"""A schema in two phases, shown with versions that do not exist yet: what each of them may read, and who may start."""

from importlib.metadata import version as installed
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect, text
from sqlmodel import SQLModel
from typer.testing import CliRunner

from app.adapters.db import schema, schema_floor
from app.adapters.db.engines import open_engine
from app.adapters.db.store import SqlStore
from app.cli.main import main
from app.domain.errors import Conflict, SoftwareTooOld
from app.domain.node import Node
from app.domain.records import Project
from app.ports.store import StoreUnavailable
from tests.adapters.db.releases import ADD, ADD_MORE, CONTRACTED, EXPANDED, TAKE, release

MINE = installed("holdfast")


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A cluster of two nodes of today's version."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    schema.upgrade(url)
    store = SqlStore([url])
    store.run(lambda tx: tx.projects.add(Project(0, "kept")))
    store.run(lambda tx: [tx.nodes.add(Node(0, name, name, version=MINE)) for name in ("n1", "n2")])
    store.close()
    return url


@pytest.fixture
def tomorrow(tmp_path: Path) -> Path:
    """The version after this one: it adds a column, and later takes one away."""
    return release(schema.SCRIPTS, tmp_path / "tomorrow", ("expand", ADD), ("contract", TAKE))


def _columns(url: str, table: str = "projects") -> set[str]:
    engine = open_engine(url)
    try:
        return {c["name"] for c in inspect(engine).get_columns(table)}
    finally:
        engine.dispose()


def _says(url: str, name: str, version: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE nodes SET version = :v WHERE name = :n"), {"v": version, "n": name})
    engine.dispose()


def test_expanded_both_versions_work(url: str, tomorrow: Path) -> None:
    assert schema.upgrade(url, tomorrow) == (CONTRACTED,), "what is left for the end"
    assert schema.current(url) == EXPANDED
    assert {"name", "motto"} <= _columns(url)
    schema_floor.require_fit(url, MINE)
    schema_floor.require_fit(url, "of tomorrow", tomorrow)
    store = SqlStore([url])
    assert [p.name for p in store.run(lambda tx: tx.projects.where())] == ["kept"]
    store.run(lambda tx: tx.projects.add(Project(0, "by the version before")))
    store.close()
    assert schema.upgrade(url, tomorrow) == (CONTRACTED,), "said again"


def test_it_is_contracted_only_when_every_other_node_has_the_version(url: str, tomorrow: Path) -> None:
    schema.upgrade(url, tomorrow)
    _says(url, "n2", "0.0.1")
    with pytest.raises(Conflict, match=r"not every node runs .*: n2 runs 0\.0\.1"):
        schema.contract(url, "n1", tomorrow)
    _says(url, "n2", "")
    with pytest.raises(Conflict, match="n2 runs an unknown version"):
        schema.contract(url, "n1", tomorrow)
    assert "os_version" in _columns(url, "images")
    _says(url, "n2", MINE)
    assert schema.contract(url, "n1", tomorrow) == (CONTRACTED,)
    assert "os_version" not in _columns(url, "images")
    assert schema.contract(url, "n1", tomorrow) == (), "said again"


def test_contracted_the_version_before_does_not_start_and_says_what_to_install(url: str, tomorrow: Path) -> None:
    schema.upgrade(url, tomorrow)
    schema.contract(url, "n1", tomorrow)
    schema_floor.require_fit(url, "of tomorrow", tomorrow)
    with pytest.raises(
        SoftwareTooOld, match=rf"this is version 1\.0, .* \(revision {CONTRACTED}, by version {MINE}\): install"
    ):
        schema_floor.require_fit(url, "1.0")
    assert schema.upgrade(url) == (), "and it does nothing to a schema that it does not know"


def test_nothing_is_taken_away_before_the_version_before_is_locked_out(
    url: str, tomorrow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the two: the old version is refused already, and the same command goes on."""
    schema.upgrade(url, tomorrow)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as crashing:
        crashing.setattr(schema, "_go", crash)
        with pytest.raises(KeyboardInterrupt):
            schema.contract(url, "n1", tomorrow)
    assert "os_version" in _columns(url, "images")
    with pytest.raises(SoftwareTooOld):
        schema_floor.require_fit(url, MINE)
    assert schema.contract(url, "n1", tomorrow) == (CONTRACTED,)


def test_a_new_database_is_made_whole_and_locks_old_software_out(tmp_path: Path, tomorrow: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    assert schema.upgrade(url, tomorrow) == ()
    assert schema.current(url) == CONTRACTED
    with pytest.raises(SoftwareTooOld):
        schema_floor.require_fit(url, MINE)


def test_a_version_is_not_jumped_over(url: str, tmp_path: Path, tomorrow: Path) -> None:
    later = release(tomorrow, tmp_path / "later", ("expand", ADD_MORE))
    with pytest.raises(Conflict, match=rf"never finished: its schema change {CONTRACTED} is due"):
        schema.upgrade(url, later)
    schema.upgrade(url, tomorrow)
    schema.contract(url, "n1", tomorrow)
    assert schema.upgrade(url, later) == ()
    assert "colour" in _columns(url)


def test_two_nodes_may_expand_at_the_same_time(url: str, tomorrow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one has made the column, and not yet written that it did: this one waits for that."""
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE projects ADD COLUMN motto VARCHAR(255) NOT NULL DEFAULT ''"))

    def other_ends(_seconds: float) -> None:
        with engine.begin() as connection:
            connection.execute(text(f"UPDATE alembic_version SET version_num = '{EXPANDED}'"))

    monkeypatch.setattr("app.adapters.db.schema.time.sleep", other_ends)
    assert schema.upgrade(url, tomorrow) == (CONTRACTED,)
    engine.dispose()


def test_a_database_that_says_nothing_refuses_nobody(tmp_path: Path) -> None:
    schema_floor.require_fit(f"sqlite:///{tmp_path / 'none.db'}", MINE)
    schema_floor.require_fit("mysql+pymysql://nobody@127.0.0.1:1/none", MINE)
    url = f"sqlite:///{tmp_path / 'state.db'}"
    schema.upgrade(url)
    engine = open_engine(url)
    with engine.begin() as connection:
        row = {"revision": max(schema_floor.revisions()), "version": MINE}
        connection.execute(insert(SQLModel.metadata.tables["schema_floor"]).values(row))
    engine.dispose()
    schema_floor.require_fit(url, MINE)


def test_software_before_its_schema_says_which_command(url: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE projects RENAME COLUMN name TO title"))
    engine.dispose()
    store = SqlStore([url])
    with pytest.raises(StoreUnavailable, match="run `holdfast db upgrade`"):
        store.run(lambda tx: tx.projects.where())
    store.close()


def test_a_database_that_does_not_answer_is_said_in_a_line(tmp_path: Path) -> None:
    url = "mysql+pymysql://nobody@127.0.0.1:1/none"
    with pytest.raises(StoreUnavailable, match="Can't connect"):
        schema.upgrade(url)
    with pytest.raises(StoreUnavailable, match="Can't connect"):
        schema.contract(url, "n1")
    config = tmp_path / "holdfast.toml"
    config.write_text(f'[database]\nurls = ["{url}"]\n')
    said = CliRunner().invoke(main, ["db", "upgrade", "--config", str(config)])
    assert said.exit_code == 3
    assert "holdfast: no database answers: " in said.stderr
