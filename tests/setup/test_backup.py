"""The state goes into a file and comes back: every kind of row, and what is refused."""

import gzip
from pathlib import Path

import pytest

from app.bootstrap.state import build_store, first_tokens, upgrade_database
from app.config import Config, DatabaseSection
from app.domain.errors import Conflict, InvalidInput
from app.domain.layout import Layout, Member
from app.setup.backup import backup, restore
from tests.ports.store_samples import SAMPLES


def cloud(directory: Path, name: str) -> Config:
    config = Config(database=DatabaseSection(urls=(f"sqlite:///{directory}/{name}.db",)))
    upgrade_database(config)
    return config


def everything(config: Config) -> dict[str, list[object]]:
    store = build_store(config)
    try:
        return store.run(lambda tx: {kind: list(getattr(tx, kind).where()) for kind in SAMPLES})
    finally:
        store.close()


def nobody(_config: Config) -> str:
    return ""


@pytest.fixture
def full(tmp_path: Path) -> Config:
    """One row of every kind, with all that is hard to store."""
    config = cloud(tmp_path, "old")
    store = build_store(config)
    store.run(lambda tx: [getattr(tx, kind).add(rows[0]) for kind, rows in SAMPLES.items() if kind != "settings"])
    store.close()
    return config


def test_every_row_comes_back_and_the_cluster_is_disarmed(tmp_path: Path, full: Config) -> None:
    file = tmp_path / "state.gz"
    assert backup(full, file) == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    new = cloud(tmp_path, "new")
    restore(new, file, replace_state=False, running=nobody)
    before, after = everything(full), everything(new)
    (settings,) = after.pop("settings")
    before.pop("settings")
    assert after == before
    assert not settings.armed  # type: ignore[attr-defined]


def test_a_state_is_not_replaced_by_accident(tmp_path: Path, full: Config) -> None:
    file = tmp_path / "state.gz"
    backup(full, file)
    new = cloud(tmp_path, "new")
    first_tokens(new)
    kept = everything(new)
    with pytest.raises(Conflict, match="--replace"):
        restore(new, file, replace_state=False, running=nobody)
    assert everything(new) == kept
    restore(new, file, replace_state=True, running=nobody)
    assert everything(new)["vms"] == everything(full)["vms"]


def test_running_agents_are_not_pulled_away_from_under(tmp_path: Path, full: Config) -> None:
    file = tmp_path / "state.gz"
    backup(full, file)
    with pytest.raises(Conflict, match="the agent of n1 runs"):
        restore(cloud(tmp_path, "new"), file, replace_state=False, running=lambda _c: "the agent of n1 runs")


@pytest.mark.parametrize("keep", [0, 1, 3, -1], ids=["nothing", "head", "some", "all but the end"])
def test_a_backup_that_broke_off_changes_nothing(tmp_path: Path, full: Config, keep: int) -> None:
    file = tmp_path / "state.gz"
    backup(full, file)
    lines = gzip.decompress(file.read_bytes()).decode().splitlines(keepends=True)
    file.write_bytes(gzip.compress("".join(lines[:keep]).encode()))
    new = cloud(tmp_path, "new")
    kept = everything(new)
    with pytest.raises(InvalidInput, match="no whole dump"):
        restore(new, file, replace_state=True, running=nobody)
    assert everything(new) == kept


def test_what_is_no_backup_and_what_has_another_schema(tmp_path: Path, full: Config) -> None:
    file = tmp_path / "state.gz"
    file.write_text("hello")
    new = cloud(tmp_path, "new")
    with pytest.raises(InvalidInput, match="no backup"):
        restore(new, file, replace_state=False, running=nobody)
    backup(full, file)
    text = gzip.decompress(file.read_bytes()).decode()
    file.write_bytes(gzip.compress(text.replace('"schema": "', '"schema": "x', 1).encode()))
    with pytest.raises(Conflict, match="install the version that made"):
        restore(new, file, replace_state=False, running=nobody)


def test_who_the_members_are_is_not_taken_from_the_backup(tmp_path: Path, full: Config) -> None:
    """A cluster that is built anew has other machines: on the votes of the old ones it would wait for ever."""
    file = tmp_path / "state.gz"
    backup(full, file)
    new = cloud(tmp_path, "new")
    layout = Layout(0, 1, "rack-2", 1000, (Member(1, "node9", ("10.0.0.9",)),), 2)
    store = build_store(new)
    store.run(lambda tx: tx.layouts.add(layout))
    store.close()
    restore(new, file, replace_state=True, running=nobody)
    after = everything(new)
    assert [row.name for row in after["layouts"]] == ["rack-2"]  # type: ignore[attr-defined]
    assert after["vms"] == everything(full)["vms"]
