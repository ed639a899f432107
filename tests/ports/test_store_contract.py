"""The port `Store`, on memory, on SQLite, and on two members of a real MariaDB Galera cluster."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.adapters.db import schema
from app.adapters.db.store import SqlStore
from app.adapters.sim.store import MemoryStore
from app.domain.cluster import Incident, IncidentPhase
from app.domain.errors import NameTaken
from app.domain.node import NodeState
from app.domain.records import Epoch, OutboxMessage, Project
from app.domain.vm import Desired, Observed, PowerSeen, Vm
from app.ports.store import Page, Store, Transaction
from tests.ports.galera_members import Galera
from tests.ports.store_samples import LATER, NOW, SAMPLES, vm

BACKENDS = ["memory", "sqlite", pytest.param("galera", marks=pytest.mark.galera)]


@pytest.fixture(params=BACKENDS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """Two accesses to the same state: as two processes, or as two members of the cluster, have them."""
    if request.param == "memory":
        store = MemoryStore()
        yield store, store.member()
        return
    if request.param == "sqlite":
        urls = [f"sqlite:///{tmp_path / 'state.db'}"] * 2
        schema.upgrade(urls[0])
    else:
        galera: Galera = request.getfixturevalue("galera")
        urls = [member.url() for member in galera.members[:2]]
    stores = SqlStore(urls[:1]), SqlStore(urls[1:])
    yield stores
    for one in stores:
        one.close()


@pytest.fixture
def store(pair: tuple[Store, Store]) -> Store:
    return pair[0]


def rows_of(tx: Transaction, kind: str) -> Any:
    return getattr(tx, kind)


def read(store: Store, kind: str, row_id: int) -> Any:
    return store.run(lambda tx: rows_of(tx, kind).get(row_id))


def add_vm(store: Store, one: Vm) -> Vm:
    return store.run(lambda tx: tx.vms.add(one))


def remove_vm(store: Store, row_id: int) -> None:
    store.run(lambda tx: tx.vms.remove(row_id))


def names(rows: Any) -> list[str]:
    return [row.name for row in rows]


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_kind_comes_back_as_it_was_stored(pair: tuple[Store, Store], kind: str) -> None:
    full, least = SAMPLES[kind]
    stored = pair[0].run(lambda tx: [rows_of(tx, kind).add(one) for one in (full, least)])
    assert [replace(one, id=0) for one in stored] == [full, least]
    assert stored[0].id < stored[1].id
    assert [read(pair[1], kind, one.id) for one in stored] == stored


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_field_of_every_kind_is_saved(pair: tuple[Store, Store], kind: str) -> None:
    full, least = SAMPLES[kind]
    row_id = pair[0].run(lambda tx: rows_of(tx, kind).add(least)).id
    changed = replace(full, id=row_id)
    pair[0].run(lambda tx: rows_of(tx, kind).save(changed))
    assert read(pair[1], kind, row_id) == changed
    assert pair[1].run(lambda tx: rows_of(tx, kind).where(id=row_id)) == [changed]


@pytest.mark.parametrize("kind", SAMPLES)
def test_times_keep_their_microseconds_and_their_zone(store: Store, kind: str) -> None:
    stored = store.run(lambda tx: rows_of(tx, kind).add(SAMPLES[kind][0]))
    row = read(store, kind, stored.id)
    times = [value for f in fields(row) if isinstance(value := getattr(row, f.name), datetime)]
    assert all(time in (NOW, LATER) and time.tzinfo is UTC for time in times)
    assert kind in ("nodes", "projects", "plans", "endpoints", "groups", "layouts") or times


def test_the_row_of_the_epoch_is_there_from_the_start(store: Store) -> None:
    assert store.run(lambda tx: tx.epochs.where()) == [Epoch(1, 0, "")]


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.run(lambda tx: tx.vms.get(4711)) is None
    assert store.run(lambda tx: tx.vms.where()) == []


@pytest.fixture
def three(store: Store) -> Store:
    def work(tx: Transaction) -> None:
        tx.vms.add(vm("a", 1, node="node-1", priority=50))
        tx.vms.add(vm("b", 1, node="node-2", priority=10, desired=Desired.STOPPED, incident_id=9))
        tx.vms.add(vm("c", 2, node=None, priority=50))

    store.run(work)
    return store


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, ["a", "b", "c"]),
        ({"node": "node-1"}, ["a"]),
        ({"node": None}, ["c"]),
        ({"node": "NODE-1"}, []),
        ({"node": "node-1 "}, []),
        ({"project_id": 1, "priority": 50}, ["a"]),
        ({"desired": Desired.STOPPED}, ["b"]),
        ({"desired": (Desired.STOPPED, Desired.RUNNING)}, ["a", "b", "c"]),
        ({"name": ("c", "a", "x")}, ["a", "c"]),
        ({"name": ["b"]}, ["b"]),
        ({"name": ()}, []),
        ({"incident_id": None}, ["a", "c"]),
        ({"locked": False}, ["a", "b", "c"]),
        ({"created": NOW}, ["a", "b", "c"]),
        ({"created": LATER}, []),
    ],
)
def test_filters(three: Store, filters: dict[str, Any], found: list[str]) -> None:
    assert names(three.run(lambda tx: tx.vms.where(**filters))) == found
    assert three.run(lambda tx: tx.vms.page(page=1, per_page=10, **filters)).total == len(found)


@pytest.mark.parametrize("name", ["nonsense", "observed", "observed_power", "labels", "failed_nodes"])
def test_only_plain_fields_can_be_asked_for(three: Store, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        three.run(lambda tx: tx.vms.where(**{name: "x"}))
    with pytest.raises(ValueError, match=name):
        three.run(lambda tx: tx.vms.page(page=1, per_page=5, sort=name))


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({}, ["a", "b", "c"]),
        ({"descending": True}, ["c", "b", "a"]),
        ({"sort": "priority"}, ["b", "a", "c"]),
        ({"sort": "priority", "descending": True}, ["c", "a", "b"]),
        ({"sort": "node"}, ["c", "a", "b"]),
        ({"sort": "node", "descending": True}, ["b", "a", "c"]),
        ({"sort": "desired"}, ["a", "c", "b"]),
    ],
)
def test_sorting(three: Store, how: dict[str, Any], found: list[str]) -> None:
    def page(number: int, per_page: int) -> Page[Vm]:
        return three.run(lambda tx: tx.vms.page(page=number, per_page=per_page, **how))

    assert names(page(1, 10).rows) == found
    single = [page(number, 1) for number in (1, 2, 3, 4)]
    assert [names(page.rows) for page in single] == [[name] for name in found] + [[]]
    assert [page.total for page in single] == [3] * 4


def test_upper_case_sorts_before_lower_case(store: Store) -> None:
    store.run(lambda tx: [tx.projects.add(Project(0, name)) for name in ("b", "B", "a", "A")])
    assert names(store.run(lambda tx: tx.projects.page(page=1, per_page=9, sort="name")).rows) == ["A", "B", "a", "b"]


def test_a_transaction_sees_its_own_writes_and_nobody_else_does_before_the_commit(store: Store) -> None:
    def work(tx: Transaction) -> None:
        first = tx.vms.add(vm("first"))
        second = tx.vms.add(vm("second"))
        assert tx.vms.get(first.id) == first
        tx.vms.save(replace(second, node="node-1"))
        assert names(tx.vms.where(node="node-1")) == ["second"]
        tx.vms.remove(first.id)
        assert tx.vms.get(first.id) is None
        assert names(tx.vms.where()) == ["second"]
        assert tx.vms.page(page=1, per_page=5).total == 1

    store.run(work)
    assert names(store.run(lambda tx: tx.vms.where())) == ["second"]


class Refused(Exception):
    pass


def test_an_exception_rolls_everything_back_and_is_passed_on(pair: tuple[Store, Store]) -> None:
    kept = pair[0].run(lambda tx: tx.vms.add(vm("kept")))
    gone = pair[0].run(lambda tx: tx.vms.add(vm("gone")))

    def work(tx: Transaction) -> None:
        tx.vms.save(replace(kept, name="renamed"))
        tx.vms.remove(gone.id)
        tx.projects.add(Project(0, "never"))
        raise Refused("no")

    with pytest.raises(Refused, match="no"):
        pair[0].run(work)
    assert pair[1].run(lambda tx: tx.vms.where()) == [kept, gone]
    assert pair[1].run(lambda tx: tx.projects.where()) == []
    # the names that it took and gave back are as before, too
    with pytest.raises(NameTaken):
        pair[0].run(lambda tx: tx.vms.add(vm("kept")))
    pair[0].run(lambda tx: tx.vms.add(vm("renamed")))


def test_save_of_a_row_that_is_not_there(store: Store) -> None:
    row = store.run(lambda tx: tx.vms.add(vm()))
    store.run(lambda tx: tx.vms.remove(row.id))
    with pytest.raises(KeyError, match=str(row.id)):
        store.run(lambda tx: tx.vms.save(row))
    store.run(lambda tx: tx.vms.remove(row.id))  # no error


def test_save_without_a_change_is_no_error(store: Store) -> None:
    row = store.run(lambda tx: tx.vms.add(vm()))
    store.run(lambda tx: tx.vms.save(row))
    assert store.run(lambda tx: tx.vms.get(row.id)) == row


def test_an_id_is_never_given_twice(store: Store) -> None:
    seen = set()
    for _ in range(3):
        row = add_vm(store, vm())
        remove_vm(store, row.id)
        seen.add(row.id)
    assert len(seen) == 3


def test_an_id_is_higher_than_those_of_the_rows_that_were_read_before(pair: tuple[Store, Store]) -> None:
    """So that the newest of what a coordinator sees is the newest (incidents), whoever wrote the others."""

    def add_after_all(tx: Transaction) -> tuple[int, list[int]]:
        seen = [row.id for row in tx.incidents.where()]
        return tx.incidents.add(SAMPLES["incidents"][1]).id, seen

    for turn in range(20):
        new, seen = pair[turn * turn % 3 % 2].run(add_after_all)
        assert len(seen) == turn
        assert all(new > row_id for row_id in seen)


UNIQUE = ["vms", "nodes", "projects", "tokens", "plans", "images", "idempotency", "outbox", "paths", "fence_checks"]


@pytest.mark.parametrize("kind", UNIQUE)
def test_what_is_unique(store: Store, kind: str) -> None:
    full, least = SAMPLES[kind]
    first = store.run(lambda tx: rows_of(tx, kind).add(full))
    second = store.run(lambda tx: rows_of(tx, kind).add(least))
    with pytest.raises(NameTaken, match="exists already"):
        store.run(lambda tx: rows_of(tx, kind).add(full))
    with pytest.raises(NameTaken, match="exists already"):
        store.run(lambda tx: rows_of(tx, kind).save(replace(full, id=second.id)))
    store.run(lambda tx: rows_of(tx, kind).save(first))
    store.run(lambda tx: rows_of(tx, kind).remove(first.id))
    store.run(lambda tx: rows_of(tx, kind).add(full))


def test_the_same_name_elsewhere_or_in_another_case_is_another_name(store: Store) -> None:
    for one in (vm("web", 1), vm("web", 2), vm("WEB", 1), vm("web ", 1)):
        add_vm(store, one)
    message = OutboxMessage(0, 1, "msg", "vm.started", "{}", NOW)
    store.run(lambda tx: [tx.outbox.add(replace(message, endpoint_id=n)) for n in (1, 2)])


def test_a_taken_name_leaves_the_rest_of_the_transaction_as_it_is(store: Store) -> None:
    store.run(lambda tx: tx.vms.add(vm("taken")))

    def work(tx: Transaction) -> None:
        tx.vms.add(vm("before"))
        with pytest.raises(NameTaken):
            tx.vms.add(vm("taken"))
        tx.vms.add(vm("after"))

    store.run(work)
    assert names(store.run(lambda tx: tx.vms.where())) == ["taken", "before", "after"]


def test_a_name_can_change_hands_in_one_transaction(store: Store) -> None:
    old = store.run(lambda tx: tx.vms.add(vm("web")))

    def work(tx: Transaction) -> None:
        tx.vms.save(replace(old, name="web-old"))
        tx.vms.add(vm("web"))
        with pytest.raises(NameTaken):
            tx.vms.add(vm("web-old"))

    store.run(work)
    assert names(store.run(lambda tx: tx.vms.where())) == ["web-old", "web"]


def test_a_time_without_zone_is_refused(store: Store) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    seen = Observed(PowerSeen.RUNNING, 1, "node-1", naive)
    for bad in (vm(created=naive), vm(observed=seen)):
        with pytest.raises(ValueError, match="no time zone"):
            add_vm(store, bad)
    assert store.run(lambda tx: tx.vms.where()) == []


def test_run_inside_of_run_is_refused(store: Store) -> None:
    with pytest.raises(RuntimeError, match="inside"):
        store.run(lambda tx: store.run(lambda inner: inner.vms.where()))
    assert store.run(lambda tx: tx.vms.where()) == []


def in_threads(*works: Callable[[], None]) -> None:
    """All at once; the first exception of any is raised here."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def test_no_update_is_lost(pair: tuple[Store, Store]) -> None:
    """A counter of the domain (placements) and the whole rest of its row, from two threads on each of two members."""

    def increments(store: Store) -> Callable[[], None]:
        def one(tx: Transaction) -> None:
            row = tx.nodes.where(name="node-2")[0]
            tx.nodes.save(replace(row, placements=row.placements + 1))

        def work() -> None:
            for _ in range(50):
                store.run(one)

        return work

    pair[0].run(lambda tx: tx.nodes.add(SAMPLES["nodes"][1]))
    in_threads(increments(pair[0]), increments(pair[1]), increments(pair[0]), increments(pair[1]))
    for store in pair:
        assert store.run(lambda tx: tx.nodes.where()[0].placements) == 200


def test_of_two_who_want_the_same_name_one_gets_it(pair: tuple[Store, Store]) -> None:
    wins: list[str] = []

    def wants_all(store: Store, who: int) -> Callable[[], None]:
        def work() -> None:
            for number in range(20):
                try:
                    add_vm(store, vm(f"vm-{number}", 1, priority=who))
                    wins.append(f"vm-{number}")
                except NameTaken:
                    pass

        return work

    in_threads(wants_all(pair[0], 1), wants_all(pair[1], 2))
    assert sorted(wins) == sorted(f"vm-{n}" for n in range(20))
    assert len(pair[0].run(lambda tx: tx.vms.where())) == 20


def test_a_reader_sees_all_of_a_transaction_or_nothing(pair: tuple[Store, Store]) -> None:
    """A plan is one transaction: nodes and incidents as one view saw them."""

    def both(tx: Transaction, phase: IncidentPhase, state: NodeState) -> None:
        node, incident = tx.nodes.where()[0], tx.incidents.where()[0]
        tx.nodes.save(replace(node, state=state))
        tx.incidents.save(replace(incident, phase=phase))

    def start(tx: Transaction) -> None:
        tx.nodes.add(SAMPLES["nodes"][1])
        tx.incidents.add(Incident(0, "node-2", IncidentPhase.CLOSED, NOW))

    def writes() -> None:
        for _ in range(20):
            pair[0].run(lambda tx: both(tx, IncidentPhase.FENCING, NodeState.LOST))
            pair[0].run(lambda tx: both(tx, IncidentPhase.CLOSED, NodeState.ONLINE))
        done.set()

    def reads() -> None:
        while not done.is_set():
            seen = pair[1].run(lambda tx: (tx.nodes.where()[0].state, tx.incidents.where()[0].phase))
            assert seen in [(NodeState.LOST, IncidentPhase.FENCING), (NodeState.ONLINE, IncidentPhase.CLOSED)]

    done = threading.Event()
    pair[0].run(start)
    in_threads(writes, reads)


def test_what_one_committed_the_other_reads_at_once(pair: tuple[Store, Store]) -> None:
    """A signal may arrive before the write that it tells of is applied everywhere: the read must wait for it."""
    heavy = "x" * 100_000  # so that applying takes the other member longer than it takes us to ask it
    rows = pair[0].run(lambda tx: [tx.vms.add(vm(f"vm-{number}", user_data=heavy)) for number in range(40)])

    def next_generation(generation: int, tx: Transaction) -> None:
        for row in rows:
            tx.vms.save(replace(row, generation=generation, user_data=heavy + str(generation)))

    for generation in range(1, 11):
        pair[0].run(partial(next_generation, generation))
        assert read(pair[1], "vms", rows[-1].id).generation == generation
