"""The orderly shutdown of a host, as systemd's hook goes through it."""

from datetime import UTC, datetime, timedelta

import pytest

from app.adapters.sim.clock import SimClock
from app.adapters.sim.store import MemoryStore
from app.domain.actions import VmSeen
from app.domain.cluster import ClusterView
from app.domain.errors import NotFound
from app.domain.host_shutdown import ShutdownPolicy, excused
from app.domain.node import Node
from app.domain.vm import PowerSeen, Vm
from app.engine.leave import HostShutdown
from app.services.leave_node import leave_node, release_vm
from app.services.load_view import load_view
from app.services.report_observed import report_observed
from app.services.return_node import return_node
from tests.api.live import facts
from tests.domain.make import node, view, vm

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    memory = MemoryStore()

    def fill(tx: object) -> None:
        for name in ("n1", "n2"):
            report_observed(tx, facts(name), (), "ok", NOW)  # type: ignore[arg-type]
        tx.vms.add(vm(0, "n1"))  # type: ignore[attr-defined]

    memory.run(fill)
    return memory


def _vm(store: MemoryStore) -> Vm:
    row = store.run(lambda tx: tx.vms.get(1))
    assert isinstance(row, Vm)
    return row


def _node(store: MemoryStore) -> Node:
    row = store.run(lambda tx: tx.nodes.where(name="n1")[0])
    assert isinstance(row, Node)
    return row


def _hook(store: MemoryStore, clock: SimClock, policy: ShutdownPolicy) -> tuple[HostShutdown, list[int]]:
    told: list[int] = []
    return HostShutdown(store, clock, "n1", policy, lambda: told.append(1), seconds_max=100), told


def test_it_waits_until_the_vms_are_given_up_and_tells_the_agents_once(store: MemoryStore) -> None:
    hook, told = _hook(store, SimClock(), ShutdownPolicy.RESTART_ELSEWHERE)
    assert not hook.step()
    assert not hook.step()
    assert told == [1]
    assert list(hook.left) == ["vm0"]
    store.run(lambda tx: release_vm(tx, "n1", 1, 1, NOW))
    assert hook.step()
    freed = _vm(store)
    assert (freed.node, freed.generation) == (None, 2)
    assert "is being shut down" in freed.unplaced_reason


def test_migration_gets_most_of_the_time_and_the_rest_is_bounded(store: MemoryStore) -> None:
    clock = SimClock()
    hook, told = _hook(store, clock, ShutdownPolicy.MIGRATE)
    assert not hook.step()
    assert _node(store).leaving == "migrate"
    clock.run_until(clock.monotonic() + 71, lambda: None)
    assert not hook.step()
    assert _node(store).leaving == "restart-elsewhere"
    assert told == [1, 1]
    clock.run_until(clock.monotonic() + 30, lambda: None)
    assert hook.step()
    assert list(hook.left) == ["vm0"]


def test_frozen_vms_are_waited_for_until_they_are_seen_off_and_stay(store: MemoryStore) -> None:
    store.run(lambda tx: report_observed(tx, facts("n1"), [VmSeen(1, 1, PowerSeen.RUNNING, verified=True)], "ok", NOW))
    hook, _ = _hook(store, SimClock(), ShutdownPolicy.FREEZE)
    assert not hook.step()
    store.run(lambda tx: report_observed(tx, facts("n1"), [VmSeen(1, 1, PowerSeen.OFF)], "ok", NOW))
    assert hook.step()
    assert _vm(store).node == "n1"


def test_without_a_database_it_ends_with_its_time(store: MemoryStore) -> None:
    clock = SimClock()
    hook, told = _hook(store, clock, ShutdownPolicy.MIGRATE)
    store.unavailable = True
    assert not hook.step()
    clock.run_until(clock.monotonic() + 101, lambda: None)
    assert hook.step()
    assert told == []


def test_nothing_is_given_up_by_a_node_that_does_not_leave_or_under_another_generation(store: MemoryStore) -> None:
    store.run(lambda tx: release_vm(tx, "n1", 1, 1, NOW))
    assert _vm(store).node == "n1"
    store.run(lambda tx: leave_node(tx, "n1", ShutdownPolicy.RESTART_ELSEWHERE, 0, NOW))
    store.run(lambda tx: release_vm(tx, "n1", 1, 7, NOW))
    store.run(lambda tx: release_vm(tx, "n2", 1, 1, NOW))
    assert _vm(store).node == "n1"
    with pytest.raises(NotFound):
        store.run(lambda tx: leave_node(tx, "n9", ShutdownPolicy.MIGRATE, 0, NOW))


def test_a_new_boot_or_an_operator_ends_it(store: MemoryStore) -> None:
    store.run(lambda tx: leave_node(tx, "n1", ShutdownPolicy.FREEZE, 60, NOW))
    store.run(lambda tx: report_observed(tx, facts("n1"), (), "ok", NOW))
    assert _node(store).leaving == "freeze"
    assert _node(store).frozen_until == NOW + timedelta(seconds=60)
    store.run(lambda tx: return_node(tx, "n1", NOW))
    assert (_node(store).leaving, _node(store).frozen_until) == ("", None)


def _dated(view_: ClusterView, at: datetime) -> ClusterView:
    return ClusterView(view_.nodes, view_.vms, at=at)


def test_who_is_excused() -> None:
    frozen = node("n1", leaving="freeze", frozen_until=NOW + timedelta(seconds=60))
    with_vm = view([frozen], [vm(1)])
    assert excused(_dated(with_vm, NOW), frozen)
    assert not excused(_dated(with_vm, NOW + timedelta(seconds=61)), frozen)
    assert not excused(with_vm, frozen), "a view without a time excuses nobody"
    moved = node("n1", leaving="migrate")
    assert excused(view([moved]), moved)
    assert not excused(view([moved], [vm(1)]), moved)
    assert not excused(view([node("n1")]), node("n1"))


def test_the_view_says_when_it_was_read(store: MemoryStore) -> None:
    assert store.run(lambda tx: load_view(tx, NOW)).at == NOW
