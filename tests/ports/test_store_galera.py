"""What only a real cluster can show: certification conflicts, stale coordinators, and members that go away."""

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel

from app.adapters.db import members as members_module
from app.adapters.db import schema, schema_floor
from app.adapters.db.engines import ANSWER_SECONDS, open_engine
from app.adapters.db.store import SqlStore
from app.domain.errors import Conflict, InvalidInput, NameTaken, SoftwareTooOld, StaleEpoch
from app.domain.node import Node
from app.domain.records import Project
from app.ports.store import StoreUnavailable, Transaction
from app.services.epoch import current_epoch, hold_epoch, win_epoch
from tests.adapters.db.releases import ADD, CONTRACTED, TAKE, TODAY, release
from tests.ports.galera_members import Galera, Member, wait_until
from tests.ports.store_samples import NOW, vm

pytestmark = pytest.mark.galera

#: less than it takes to wait in vain for a member's answer, with room for a busy machine
NO_TIME_OUT = ANSWER_SECONDS - 1

MakeStore = Callable[..., SqlStore]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make_store(stack: ExitStack) -> MakeStore:
    """A store on these members, in this order."""

    def make(*members: Member) -> SqlStore:
        store = SqlStore([member.url() for member in members])
        stack.callback(store.close)
        return store

    return make


@pytest.fixture
def restored(galera: Galera) -> Iterator[Galera]:
    """For tests that harm members: afterwards all run and are in sync again."""
    yield galera
    for member in galera.members:
        member.link(up=True)
        if member.alive:
            member.signal(signal.SIGCONT)
        else:
            member.restart()
    galera.wait_synced()
    gc.collect()


def seconds_of(work: Callable[[], object]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def read_names(store: SqlStore) -> list[str]:
    """In the order of the alphabet: that of the ids is not that of the commits."""
    return sorted(row.name for row in store.run(lambda tx: tx.projects.where()))


def add_project(store: SqlStore, name: str) -> Project:
    return store.run(lambda tx: tx.projects.add(Project(0, name)))


def code_of(error: OperationalError) -> int:
    assert error.orig is not None
    return int(error.orig.args[0])


def test_two_members_that_write_the_same_row_conflict_at_commit(galera: Galera, stack: ExitStack) -> None:
    """The fact that the unit of work rests on: no lock is seen by the other member, the second COMMIT is error 1213."""
    engines = [open_engine(member.url(), pooled=False) for member in galera.members[:2]]
    a, b = (stack.enter_context(engine.connect()) for engine in engines)
    for connection in (a, b):
        connection.exec_driver_sql("SELECT * FROM epochs").all()
        connection.exec_driver_sql("UPDATE epochs SET writes = writes + 1 WHERE id = 1 AND epoch = 0")
    a.commit()
    with pytest.raises(OperationalError) as refused:
        b.commit()
    assert code_of(refused.value) == 1213
    b.rollback()
    assert b.exec_driver_sql("SELECT writes FROM epochs").scalar_one() == 1


def test_the_unit_of_work_is_done_again_after_a_conflict_at_commit(galera: Galera, make_store: MakeStore) -> None:
    a, b = make_store(galera.members[0]), make_store(galera.members[1])
    row = a.run(lambda tx: tx.vms.add(vm()))
    seen: list[int] = []

    def work(tx: Transaction) -> None:
        mine = tx.vms.where(id=row.id)[0]
        seen.append(mine.generation)
        tx.vms.save(replace(mine, priority=mine.priority + 1))
        if len(seen) == 1:
            a.run(lambda other: other.vms.save(replace(row, generation=5)))

    b.run(work)
    assert seen == [0, 5]
    after = a.run(lambda tx: tx.vms.where()[0])
    assert (after.generation, after.priority) == (5, row.priority + 1)


@pytest.mark.parametrize("other", [0, 1])
def test_a_row_that_changed_after_it_was_read_is_not_overwritten(
    galera: Galera, make_store: MakeStore, other: int
) -> None:
    """Already applied here when it is written, so certification passes it: innodb_snapshot_isolation must refuse."""
    mine, theirs = make_store(galera.members[0]), make_store(galera.members[other])
    row = mine.run(lambda tx: tx.vms.add(vm()))
    seen: list[int] = []

    def work(tx: Transaction) -> None:
        read = tx.vms.where(id=row.id)[0]
        seen.append(read.generation)
        if len(seen) == 1:
            theirs.run(lambda tx: tx.vms.save(replace(row, generation=5)))
            watcher = make_store(galera.members[0])
            assert watcher.run(lambda tx: tx.vms.where()[0].generation) == 5  # applied on this member
        tx.vms.save(replace(read, priority=1))

    mine.run(work)
    assert seen == [0, 5]
    assert mine.run(lambda tx: [(v.generation, v.priority) for v in tx.vms.where()]) == [(5, 1)]


@pytest.mark.parametrize("touch_first", [True, False], ids=["touched before the take-over", "touched after it"])
def test_a_stale_coordinator_is_refused(galera: Galera, make_store: MakeStore, touch_first: bool) -> None:
    """It holds the epoch when its transaction begins, another wins it meanwhile: nothing that it wrote stays."""
    old, new = make_store(galera.members[1]), make_store(galera.members[0])
    epoch = old.run(lambda tx: win_epoch(tx, "old", NOW))
    tries: list[int] = []

    def stale(tx: Transaction) -> None:
        tries.append(current_epoch(tx).epoch)
        if touch_first:
            hold_epoch(tx, epoch)
        tx.vms.add(vm("placed by the stale one"))
        if len(tries) == 1:
            assert new.run(lambda other: win_epoch(other, "new", NOW)) == epoch + 1
        if not touch_first:
            hold_epoch(tx, epoch)

    with pytest.raises(StaleEpoch, match=f"new holds {epoch + 1}"):
        old.run(stale)
    assert tries == [epoch, epoch + 1]
    for store in (old, new):
        row = store.run(current_epoch)
        assert (row.epoch, row.holder, row.writes) == (epoch + 1, "new", 2)
        assert store.run(lambda tx: tx.vms.where()) == []


def test_a_name_taken_after_this_transaction_looked_is_seen_in_the_second_try(
    galera: Galera, make_store: MakeStore
) -> None:
    """As a repeated request needs it: the second of two at once finds the first one's answer."""
    a, b = make_store(galera.members[0]), make_store(galera.members[1])
    seen: list[list[str]] = []

    def find_or_add(tx: Transaction) -> str:
        found = tx.projects.where(name="one")
        seen.append([row.name for row in found])
        if found:
            return "found"
        if len(seen) == 1:
            add_project(a, "one")
            assert read_names(make_store(galera.members[1])) == ["one"]  # applied on this member
        tx.projects.add(Project(0, "one"))
        return "added"

    assert b.run(find_or_add) == "found"
    assert seen == [[], ["one"]]
    with pytest.raises(NameTaken, match="'one'"):
        add_project(b, "one")


def test_a_text_that_does_not_fit_is_said_so(galera: Galera, make_store: MakeStore) -> None:
    with pytest.raises(InvalidInput, match="name is too long") as refused:
        add_project(make_store(galera.members[0]), "x" * 256)
    assert refused.value.field == "name"


def test_a_member_that_is_cut_off_is_left_and_used_again_later(
    restored: Galera, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members_module, "RETURN_SECONDS_MIN", 0.5)
    first, second, third = restored.members
    store, alone = make_store(first, second, third), make_store(first)
    add_project(store, "before")
    first.link(up=False)
    wait_until(lambda: first.status().get("wsrep_cluster_status") == "non-Primary", "the first member is alone")
    with pytest.raises(StoreUnavailable, match="1047"):
        read_names(alone)
    assert seconds_of(lambda: add_project(store, "during")) < NO_TIME_OUT
    assert seconds_of(lambda: add_project(store, "again")) < NO_TIME_OUT
    assert read_names(make_store(third)) == ["again", "before", "during"]
    first.link(up=True)
    restored.wait_synced()
    assert read_names(alone) == ["again", "before", "during"]

    def host() -> str:
        return store.run(lambda tx: str(tx.connection.exec_driver_sql("SELECT @@socket").scalar_one()))  # type: ignore[attr-defined]

    wait_until(lambda: host() == str(first.socket), "the preferred member is asked again")


def test_a_killed_member_costs_no_transaction(restored: Galera, make_store: MakeStore) -> None:
    first, second, _ = restored.members
    store, alone = make_store(first, second), make_store(first)
    add_project(store, "before")
    add_project(alone, "alone")
    first.kill()
    # the others miss it only after their suspect time-out (2 s); until then their commits wait
    assert seconds_of(lambda: add_project(store, "during")) < ANSWER_SECONDS
    with pytest.raises(StoreUnavailable, match="no database answers"):
        read_names(alone)
    first.restart()
    restored.wait_synced()
    # its pooled connections are from before the kill
    assert read_names(alone) == ["alone", "before", "during"]


def test_connections_from_before_a_restart_cost_nothing(restored: Galera, make_store: MakeStore) -> None:
    alone = make_store(restored.members[0])
    add_project(alone, "before")
    restored.members[0].kill()
    restored.members[0].restart()
    restored.wait_synced()
    assert seconds_of(lambda: read_names(alone)) < NO_TIME_OUT


def test_a_connection_by_the_socket_costs_no_tls(
    galera: Galera, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise AssertionError("all authorities that this host trusts are read")

    monkeypatch.setattr("ssl.create_default_context", refuse)
    add_project(make_store(galera.members[0]), "one")


def test_a_member_that_hangs_delays_once(restored: Galera, make_store: MakeStore) -> None:
    first, second, _ = restored.members
    store = make_store(first, second)
    add_project(store, "before")
    first.signal(signal.SIGSTOP)
    waited = seconds_of(lambda: add_project(store, "during"))
    assert ANSWER_SECONDS - 0.5 < waited < 2 * ANSWER_SECONDS
    assert seconds_of(lambda: add_project(store, "again")) < NO_TIME_OUT
    first.signal(signal.SIGCONT)
    restored.wait_synced()
    assert read_names(make_store(first)) == ["again", "before", "during"]


def test_a_member_lost_in_commit_leaves_the_outcome_open_and_work_is_not_repeated(
    restored: Galera, make_store: MakeStore
) -> None:
    first, second, _ = restored.members
    store = make_store(first, second)
    calls: list[str] = []

    def work(tx: Transaction) -> None:
        calls.append("write")
        tx.projects.add(Project(0, "perhaps"))
        first.kill()

    with pytest.raises(StoreUnavailable, match="outcome is unknown"):
        store.run(work)
    assert calls == ["write"]
    # the next transaction does not ask the dead one first, and here it had not got as far as replicating
    assert seconds_of(lambda: read_names(store)) < NO_TIME_OUT
    assert read_names(store) == []


def test_a_member_lost_in_a_transaction_that_only_reads_is_replaced(restored: Galera, make_store: MakeStore) -> None:
    first, second, _ = restored.members
    store = make_store(first, second)
    add_project(store, "one")
    calls: list[str] = []

    def work(tx: Transaction) -> list[str]:
        calls.append("read")
        found = [row.name for row in tx.projects.where()]
        if len(calls) == 1:
            first.kill()
        return found

    assert store.run(work) == ["one"]
    assert calls == ["read", "read"]


def test_no_majority_is_unavailable_and_says_so(restored: Galera, make_store: MakeStore) -> None:
    first, second, third = restored.members
    store = make_store(first, second, third)
    add_project(store, "before")
    for member in (first, second):
        member.link(up=False)
    for member in restored.members:
        wait_until(lambda m=member: m.status().get("wsrep_cluster_status") == "non-Primary", "no majority")  # type: ignore[misc]
    with pytest.raises(StoreUnavailable, match="no database answers"):
        add_project(store, "never")
    for member in (first, second):
        member.link(up=True)
    restored.wait_synced()
    assert read_names(store) == ["before"]


def test_the_migrated_schema_is_that_of_the_tables(galera: Galera) -> None:
    url = galera.members[0].url()
    engine: Engine = open_engine(url)
    try:
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection, opts={"compare_type": True, "compare_server_default": True}
            )
            assert compare_metadata(context, SQLModel.metadata) == []
            rows = connection.exec_driver_sql(
                "SELECT DISTINCT table_collation, engine FROM information_schema.tables"
                " WHERE table_schema = DATABASE() AND table_name <> 'alembic_version'"
            ).all()
            assert rows == [("utf8mb4_nopad_bin", "InnoDB")]
    finally:
        engine.dispose()
    assert schema.current(url) == "0006"
    schema.upgrade(url)  # nothing to do


@pytest.fixture
def tomorrow(galera: Galera, tmp_path: Path) -> Iterator[Path]:
    """The migrations of the version after this one; afterwards the schema is today's again."""
    yield release(schema.SCRIPTS, tmp_path / "tomorrow", ("expand", ADD), ("contract", TAKE))
    engine = open_engine(galera.members[0].url())
    with engine.begin() as connection:
        for statement in (
            "ALTER TABLE projects DROP COLUMN IF EXISTS motto",
            "ALTER TABLE images ADD COLUMN IF NOT EXISTS os_version VARCHAR(255) NOT NULL",
            f"UPDATE alembic_version SET version_num = '{TODAY}'",
            "DELETE FROM schema_floor",
        ):
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_the_schema_is_expanded_while_the_version_before_writes_and_contracted_when_it_is_gone(
    galera: Galera, make_store: MakeStore, tomorrow: Path
) -> None:
    first, second, third = galera.members
    old = make_store(second, third)
    for name in ("n1", "n2"):
        old.run(partial(_add_node, name))
    stop = threading.Event()

    def customers() -> int:
        count = 0
        while not stop.is_set():
            add_project(old, f"p{count:04}")
            count += 1
        return count

    with ThreadPoolExecutor(1) as pool:
        writes = pool.submit(customers)
        assert schema.upgrade(first.url(), tomorrow) == (CONTRACTED,)
        stop.set()
        written = writes.result(60)
    assert len(read_names(old)) == written, "each write of the version before, none of them refused"
    with pytest.raises(Conflict, match=r"not every node runs .*: n1 runs an unknown version, n2 runs an unknown"):
        schema.contract(first.url(), "n3", tomorrow)
    for row in old.run(lambda tx: list(tx.nodes.where())):
        old.run(partial(_upgraded, row))
    schema_floor.require_fit(third.url(), "1.0")
    assert schema.contract(first.url(), "n1", tomorrow) == (CONTRACTED,)
    with pytest.raises(SoftwareTooOld, match=f"revision {CONTRACTED}"):
        schema_floor.require_fit(third.url(), "1.0")
    with pytest.raises(StoreUnavailable, match=r"Unknown column .*os_version"):
        old.run(lambda tx: tx.images.where())


def _add_node(name: str, tx: Transaction) -> None:
    tx.nodes.add(Node(0, name, name))


def _upgraded(row: Node, tx: Transaction) -> None:
    tx.nodes.save(replace(row, version=version("holdfast")))
