"""Plans: what moves, what waits, what stays off. The properties hold for every cluster that hypothesis thinks of."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.domain.cluster import ClusterView
from app.domain.node import NodeRole, NodeState
from app.domain.recovery import RecoveryPlan, plan_recovery, plan_waiting, start_order, unplaced_after
from app.domain.vm import Desired, PowerSeen, Vm
from tests.domain.make import fenced, lost, node, seen, spare, up, view, vm, witness


def _places(plan: RecoveryPlan) -> dict[int, str]:
    return {a.vm_id: a.node for a in plan.assigned}


# -- one node died


def test_the_vms_of_the_failed_node_are_spread_over_the_others() -> None:
    plan = plan_recovery(view([lost("n1"), node("n2"), node("n3")], [vm(i, "n1") for i in (1, 2, 3, 4)]), "n1")
    assert sorted(_places(plan).values()) == ["n2", "n2", "n3", "n3"]
    assert {a.generation for a in plan.assigned} == {2}
    assert not plan.unplaced


def test_what_was_stopped_suspended_or_deleted_is_released_and_not_started() -> None:
    dead = [vm(1, "n1", desired=Desired.STOPPED), vm(2, "n1", locked=True), vm(3, "n1", desired=Desired.DELETED)]
    plan = plan_recovery(view([lost("n1"), node("n2")], dead), "n1")
    assert plan.assigned == ()
    assert {(r.vm_id, r.generation) for r in plan.released} == {(1, 2), (2, 2), (3, 2)}


def test_without_room_a_vm_is_in_the_plan_with_the_reason_and_a_new_generation() -> None:
    plan = plan_recovery(view([lost("n1"), node("n2", memory_mib=100)], [vm(1, "n1", 7)]), "n1")
    assert [(u.vm_id, u.generation) for u in plan.unplaced] == [(1, 8)]
    assert plan.unplaced[0].reason == "no node can take it: n2: has 100 MiB of memory free, 512 MiB needed"


def test_a_spare_takes_what_the_others_cannot() -> None:
    plan = plan_recovery(view([lost("n1"), node("n2", memory_mib=512), spare("n3")], [vm(1, "n1"), vm(2, "n1")]), "n1")
    assert sorted(_places(plan).values()) == ["n2", "n3"]


def test_high_priority_is_placed_first_when_there_is_not_room_for_all() -> None:
    vms = [vm(1, "n1", memory_mib=1024), vm(2, "n1", memory_mib=1024, priority=90)]
    plan = plan_recovery(view([lost("n1"), node("n2", memory_mib=1024)], vms), "n1")
    assert _places(plan) == {2: "n2"}
    assert [u.vm_id for u in plan.unplaced] == [1]


def test_start_order_is_priority_then_size_then_age() -> None:
    vms = [vm(1), vm(2, memory_mib=2048), vm(3, priority=90), vm(4)]
    assert [v.id for v in start_order(vms)] == [3, 2, 1, 4]


def test_several_nodes_lost_at_once_strand_what_the_rest_cannot_take() -> None:
    vms = [vm(1, "n1"), vm(2, "n2", memory_mib=1024), vm(3, "n2", desired=Desired.STOPPED)]
    cluster = view([node("n1"), node("n2"), node("n3", memory_mib=1024)], vms)
    assert unplaced_after(cluster, frozenset({"n1"})) == ()
    assert [v.id for v in unplaced_after(cluster, frozenset({"n1", "n2"}))] == [1]
    assert [v.id for v in unplaced_after(cluster, frozenset({"n1", "n2", "n3"}))] == [1, 2]


# -- those that wait


def test_a_vm_that_waits_from_a_recovery_may_use_a_spare_and_a_new_one_may_not() -> None:
    waiting = [vm(1, None, incident_id=1), vm(2, None)]
    plan = plan_waiting(view([spare("n1")], waiting))
    assert _places(plan) == {1: "n1"}
    assert [(u.vm_id, u.generation) for u in plan.unplaced] == [(2, 1)]


def test_one_plan_promises_no_memory_twice() -> None:
    waiting = [vm(1, None, incident_id=1), vm(2, None)]
    plan = plan_waiting(view([node("n1", memory_mib=512)], waiting))
    assert _places(plan) == {1: "n1"}
    assert [u.vm_id for u in plan.unplaced] == [2]


def test_a_reason_that_has_not_changed_is_not_written_again() -> None:
    cluster = [node("n1", memory_mib=100)]
    (first,) = plan_waiting(view(cluster, [vm(1, None)])).unplaced
    again = plan_waiting(view(cluster, [vm(1, None, unplaced_reason=first.reason)]))
    assert again.empty


def test_stopped_or_suspended_without_a_node_waits_for_nothing() -> None:
    assert plan_waiting(view([node("n1")], [vm(1, None, desired=Desired.STOPPED), vm(2, None, locked=True)])).empty


def test_a_vm_that_its_node_gave_up_on_goes_to_another_one_and_stays_where_there_is_none() -> None:
    stuck = vm(1, "n1")
    stuck = replace(stuck, observed=seen(PowerSeen.FAILED, stuck))
    assert _places(plan_waiting(view([node("n1"), node("n2")], [stuck]))) == {1: "n2"}
    assert plan_waiting(view([node("n1")], [stuck])).empty
    tried_both = replace(stuck, failed_nodes=("n2",))
    assert plan_waiting(view([node("n1"), node("n2")], [tried_both])).empty


def test_what_a_lost_node_had_given_up_waits_for_its_proof() -> None:
    stuck = vm(1, "n1")
    stuck = replace(stuck, observed=seen(PowerSeen.FAILED, stuck))
    assert plan_waiting(view([lost("n1"), node("n2")], [stuck])).empty


def test_a_failure_of_an_earlier_placement_moves_nothing() -> None:
    moved = replace(vm(1, "n1", 3), observed=seen(PowerSeen.FAILED, vm(1, "n1", 2)))
    assert plan_waiting(view([node("n1"), node("n2")], [moved])).empty


def test_a_deleted_vm_without_a_node_gets_one_that_removes_its_volumes() -> None:
    orphan = vm(1, None, desired=Desired.DELETED)
    assert set(_places(plan_waiting(view([witness("n1"), node("n2"), lost("n3")], [orphan]))).values()) == {"n2"}
    assert plan_waiting(view([witness("n1"), fenced("n2")], [orphan])).empty


# -- for every cluster

_nodes = st.lists(
    st.tuples(st.sampled_from(NodeRole), st.sampled_from(NodeState), st.integers(0, 8).map(lambda g: g * 512)),
    min_size=1,
    max_size=6,
).map(lambda rows: [node(f"n{i}", role=r, state=s, memory_mib=m) for i, (r, s, m) in enumerate(rows, start=1)])


@st.composite
def _views(draw: st.DrawFn) -> ClusterView:
    nodes = draw(_nodes)
    homes = st.sampled_from([None, *(n.name for n in nodes)])
    rows = draw(
        st.lists(
            st.tuples(
                homes, st.integers(1, 4).map(lambda g: g * 512), st.sampled_from(Desired), st.booleans(),
                st.sampled_from(PowerSeen), st.sampled_from([None, 1]), st.integers(0, 3), st.sampled_from([10, 50]),
            ),
            max_size=12,
        )
    )  # fmt: skip
    vms = []
    for i, (home, memory, desired, locked, power, part_of, generation, priority) in enumerate(rows, start=1):
        one = vm(i, home, generation, memory_mib=memory, desired=desired, locked=locked, incident_id=part_of)
        vms.append(replace(one, priority=priority, observed=seen(power, one)))
    return view(nodes, vms)


def _touched(plan: RecoveryPlan) -> list[int]:
    return [a.vm_id for a in plan.assigned] + [u.vm_id for u in plan.unplaced] + [r.vm_id for r in plan.released]


def _check_any_plan(cluster: ClusterView, plan: RecoveryPlan) -> None:
    rows = {v.id: v for v in cluster.vms}
    touched = _touched(plan)
    assert len(touched) == len(set(touched)), "one word for each VM"
    for a in plan.assigned:
        target = cluster.node(a.node)
        assert target is not None
        assert target.state is NodeState.ONLINE
        assert target.role is not NodeRole.WITNESS
        assert a.generation == rows[a.vm_id].generation + 1
        assert a.why
        assert rows[a.vm_id].wants_to_run or rows[a.vm_id].desired is Desired.DELETED, "the dead stay dead"
    assert all(u.reason and rows[u.vm_id].wants_to_run for u in plan.unplaced)
    _check_memory(cluster, plan, rows)


def _check_memory(cluster: ClusterView, plan: RecoveryPlan, rows: dict[int, Vm]) -> None:
    for target in cluster.nodes:
        new = [rows[a.vm_id] for a in plan.assigned if a.node == target.name and rows[a.vm_id].wants_to_run]
        had = [v for v in cluster.vms if v.node == target.name and v.desired is Desired.RUNNING]
        if new:
            assert sum(v.memory_mib for v in (*new, *had)) <= target.memory_mib, f"{target.name} is promised too much"


@given(_views(), st.data())
def test_a_recovery_touches_all_of_the_failed_node_and_nothing_else(cluster: ClusterView, data: st.DataObject) -> None:
    failed = data.draw(st.sampled_from([n.name for n in cluster.nodes]))
    plan = plan_recovery(cluster, failed)
    theirs = {v.id for v in cluster.vms if v.node == failed}
    assert set(_touched(plan)) == theirs
    assert all(a.node != failed for a in plan.assigned)
    assert all(u.generation == next(v.generation for v in cluster.vms if v.id == u.vm_id) + 1 for u in plan.unplaced)
    _check_any_plan(cluster, plan)
    assert plan_recovery(cluster, failed) == plan, "same input, same output"


@given(_views())
def test_a_plan_of_the_waiting_leaves_alone_who_has_a_node_that_hosts_it(cluster: ClusterView) -> None:
    """Unless that gave it up, or is fenced and the VM has waited long enough for its return."""
    plan = plan_waiting(cluster)
    homeless = {None, *(n.name for n in cluster.nodes if n.state is NodeState.FENCED)}
    for a in plan.assigned:
        one = next(v for v in cluster.vms if v.id == a.vm_id)
        assert one.node in homeless or (one.observed.power is PowerSeen.FAILED and one.node != a.node)
    assert all(next(v for v in cluster.vms if v.id == u.vm_id).node in homeless for u in plan.unplaced)
    assert not plan.released
    _check_any_plan(cluster, plan)


@given(_views())
def test_once_a_plan_of_the_waiting_is_carried_out_the_next_one_is_empty(cluster: ClusterView) -> None:
    """It ends: no VM goes to and fro, no reason is written over and over."""
    for _ in range(len(cluster.nodes) + 2):
        plan = plan_waiting(cluster)
        cluster = _carried_out(cluster, plan)
        if plan.empty:
            return
    raise AssertionError(f"still something to do: {plan}")


def _carried_out(cluster: ClusterView, plan: RecoveryPlan) -> ClusterView:
    rows: dict[int, Vm] = {v.id: v for v in cluster.vms}
    for a in plan.assigned:
        old = rows[a.vm_id]
        moved = replace(old, node=a.node, generation=a.generation, unplaced_reason="")
        rows[a.vm_id] = replace(moved, observed=up(moved))
    for u in plan.unplaced:
        rows[u.vm_id] = replace(rows[u.vm_id], unplaced_reason=u.reason)
    return replace(cluster, vms=tuple(rows.values()))
