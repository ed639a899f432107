"""The restart-hold window, where a VM failed before, and the way home."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.cluster import ClusterView, IncidentPhase
from app.domain.errors import Conflict
from app.domain.failback import homecomings
from app.domain.policy import HaClass, HaPolicy
from app.domain.recovery import RecoveryPlan, plan_recovery, plan_waiting, start_order
from app.domain.vm import Desired, PowerSeen, Vm
from app.services.commit_plan import commit_plan
from app.services.epoch import win_epoch
from app.services.load_view import load_view
from tests.domain.make import SEEN_OFF, WHEN, fenced, incident, lost, node, seen, up, view, vm

HOLD = HaPolicy(restart_hold_seconds=30)


def _at(seconds: float, there: ClusterView) -> ClusterView:
    return replace(there, at=WHEN + timedelta(seconds=seconds))


def _lost_n1(*vms: Vm) -> ClusterView:
    return view([lost("n1"), node("n2")], list(vms), [incident("n1", IncidentPhase.PLANNING, proof=SEEN_OFF)])


def _fenced_n1(*vms: Vm) -> ClusterView:
    return view([fenced("n1"), node("n2")], list(vms), [incident("n1", IncidentPhase.STARTING, proof=SEEN_OFF)])


# -- the window


def test_within_the_window_a_vm_stays_with_its_node_and_after_it_goes() -> None:
    patient, hasty = vm(1, ha=HOLD), vm(2)
    plan = plan_recovery(_at(10, _lost_n1(patient, hasty)), "n1")
    assert ([s.vm_id for s in plan.stays], [a.vm_id for a in plan.assigned]) == ([1], [2])
    late = plan_recovery(_at(31, _lost_n1(patient, hasty)), "n1")
    assert (late.stays, {a.vm_id for a in late.assigned}) == ((), {1, 2})
    undated = plan_recovery(_lost_n1(patient), "n1")
    assert [a.vm_id for a in undated.assigned] == [1], "without a clock it waits for nothing"


def test_a_waiting_vm_is_placed_when_its_window_is_over_and_not_before() -> None:
    waits = vm(1, ha=HOLD, incident_id=1)
    assert plan_waiting(_at(29, _fenced_n1(waits))).empty
    assert [(a.node, a.generation) for a in plan_waiting(_at(30, _fenced_n1(waits))).assigned] == [("n2", 2)]


def test_one_without_room_is_then_unplaced_with_the_reason_like_all_others() -> None:
    waits = vm(1, ha=HOLD, incident_id=1, memory_mib=9000)
    (unplaced,) = plan_waiting(_at(30, _fenced_n1(waits))).unplaced
    assert unplaced.generation == 2
    assert "9000 MiB needed" in unplaced.reason


def test_one_that_was_deleted_while_it_waited_is_buried_by_another_node() -> None:
    gone = vm(1, ha=HOLD, desired=Desired.DELETED)
    assert [a.node for a in plan_waiting(_at(1, _fenced_n1(gone))).assigned] == ["n2"]
    assert plan_waiting(_at(1, _fenced_n1(replace(gone, local=True)))).empty, "its disk is on n1"


def _store(there: ClusterView) -> MemoryStore:
    store = MemoryStore()

    def fill(tx: Any) -> None:
        for kind in ("nodes", "vms", "incidents"):
            for row in getattr(there, kind):
                getattr(tx, kind).add(row)

    store.run(fill)
    store.run(lambda tx: win_epoch(tx, "n2", WHEN))
    return store


@pytest.mark.parametrize("memory_mib", [512, 9000], ids=["with room", "without"])
def test_a_node_that_hosts_again_keeps_what_waited_for_it_whatever_was_planned_meanwhile(memory_mib: int) -> None:
    store = _store(_fenced_n1(vm(1, ha=HOLD, incident_id=1, memory_mib=memory_mib)))
    plan = plan_waiting(_at(30, store.run(load_view)))
    assert not plan.empty
    store.run(lambda tx: tx.nodes.save(replace(node("n1"), id=1)))
    with pytest.raises(Conflict):
        store.run(lambda tx: commit_plan(tx, 1, plan, WHEN))


# -- the order, and where it failed before


def test_the_guaranteed_find_room_first() -> None:
    best = vm(1, priority=99, ha=HaPolicy(ha_class=HaClass.BEST_EFFORT))
    assert [v.id for v in start_order([best, vm(2, priority=1)])] == [2, 1]


def test_where_it_failed_before_is_better_than_nowhere() -> None:
    waits = vm(1, None, failed_nodes=("n2",))
    assert [a.node for a in plan_waiting(view([node("n2"), node("n3")], [waits])).assigned] == ["n3"]
    assert [a.node for a in plan_waiting(view([node("n2")], [waits])).assigned] == ["n2"]
    stuck = vm(2, "n3", failed_nodes=("n2",))
    stuck = replace(stuck, observed=seen(PowerSeen.FAILED, stuck))
    assert plan_waiting(view([node("n2"), node("n3")], [stuck])).empty, "it is not sent to and fro"


# -- the way home


def _away(**other: Any) -> Vm:
    one = vm(1, "n2", home="n1", ha=HaPolicy(failback=True), **other)
    return replace(one, observed=up(one))


def test_a_recovery_notes_where_the_vm_came_from() -> None:
    store = _store(_lost_n1(vm(1)))
    store.run(lambda tx: commit_plan(tx, 1, plan_recovery(load_view(tx), "n1"), WHEN))
    moved: Vm = store.run(lambda tx: tx.vms.get(1))
    assert (moved.node, moved.home) == ("n2", "n1")


def test_it_goes_home_once_that_is_well() -> None:
    home = node("n1", health="ok")
    assert [(h.vm_id, h.node) for h in homecomings(view([home, node("n2")], [_away()]))] == [(1, "n1")]


@pytest.mark.parametrize(
    ("home", "one", "incidents"),
    [
        (fenced("n1", health="ok"), _away(), []),
        (node("n1", health="disk full"), _away(), []),
        (node("n1", health="ok", maintenance=True), _away(), []),
        (node("n1", health="ok", memory_mib=100), _away(), []),
        (node("n1", health="ok"), replace(_away(), ha=HaPolicy()), []),
        (node("n1", health="ok"), replace(_away(), observed=seen(PowerSeen.STARTING, _away())), []),
        (node("n1", health="ok"), _away(migrating_to="n3"), []),
        (node("n1", health="ok"), _away(desired=Desired.STOPPED), []),
        (node("n1", health="ok"), _away(), [incident("n3", IncidentPhase.STARTING)]),
    ],
    ids=["fenced", "unwell", "maintenance", "full", "not wanted", "not up", "migrating", "stopped", "a recovery"],
)
def test_it_stays_where_it_is_while(home: Any, one: Vm, incidents: list[Any]) -> None:
    assert homecomings(view([home, node("n2")], [one], incidents)) == ()


def test_a_plan_of_nothing_is_empty() -> None:
    assert RecoveryPlan("").empty


def test_a_vm_that_is_not_to_wait_asks_no_clock() -> None:
    """The clock of the coordinator that plans may be behind that of the one that opened the incident."""
    opened = incident("n1", IncidentPhase.PLANNING, proof=SEEN_OFF)
    cluster = replace(view([lost("n1"), node("n2")], [vm(1, "n1")], [opened]), at=WHEN - timedelta(seconds=30))
    plan = plan_recovery(cluster, "n1")
    assert [a.node for a in plan.assigned] == ["n2"]
    assert plan.stays == ()
