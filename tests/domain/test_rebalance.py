"""Moves that are worth making, and above all those that are not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.capacity import broken_promise
from app.domain.cluster import ClusterView
from app.domain.cluster_settings import ClusterSettings
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement import loads_of
from app.domain.policy import HaClass, HaPolicy
from app.domain.rebalance import (
    Move,
    RebalanceMemory,
    RebalanceSettings,
    imbalance,
    look,
    moves_worth_making,
    share,
)
from app.domain.vm import Desired, Vm
from tests.domain.make import WHEN, incident, lost, node, seen, spare, up, view, vm, witness

ON = ClusterSettings(rebalance=True)


def running(vm_id: int, where: str, **other: Any) -> Vm:
    one = vm(vm_id, where, **other)
    return replace(one, observed=up(one))


def uneven(nodes: list[Node] | None = None, count: int = 6, **other: Any) -> ClusterView:
    """All VMs of 512 MiB on n1 of 4096 MiB, nothing on the others."""
    vms = [running(i, "n1", **other) for i in range(1, count + 1)]
    return replace(view(nodes or [node("n1"), node("n2")], vms), settings=ON)


def carried_out(cluster: ClusterView, moves: tuple[Move, ...]) -> ClusterView:
    """The migrations have ended: new node, new generation, verified there."""
    targets = {m.vm_id: m.target for m in moves}
    vms = []
    for one in cluster.vms:
        if one.id in targets:
            one = replace(one, node=targets[one.id], generation=one.generation + 1, migrating_to=None)
            one = replace(one, observed=up(one))
        vms.append(one)
    return replace(cluster, vms=tuple(vms))


def test_a_vm_goes_from_the_fullest_to_the_emptiest_and_the_reason_has_the_figures() -> None:
    (move,) = moves_worth_making(uneven())
    assert (move.vm_id, move.source, move.target) == (1, "n1", "n2")
    assert move.why == ("n1 is 75% full, n2 0%; with vm1 (512 MiB) moved they differ by 50% instead of 75%")


def test_it_ends_where_no_move_is_worth_it() -> None:
    cluster = uneven()
    for _ in range(3):
        moves = moves_worth_making(cluster)
        assert len(moves) == 1
        cluster = carried_out(cluster, moves)
    assert imbalance(cluster) == 0
    assert moves_worth_making(cluster) == ()


def test_the_largest_vm_that_does_not_turn_the_two_round_is_the_one() -> None:
    vms = [running(1, "n1", memory_mib=512), running(2, "n1", memory_mib=1024), running(3, "n1", memory_mib=2048)]
    cluster = replace(view([node("n1"), node("n2")], vms), settings=ON)
    assert [m.vm_id for m in moves_worth_making(cluster)] == [2]


def test_one_large_vm_does_not_wander_between_two_nodes() -> None:
    """Moving it would only put the same load elsewhere."""
    cluster = replace(view([node("n1"), node("n2")], [running(1, "n1", memory_mib=3072)]), settings=ON)
    assert moves_worth_making(cluster) == ()


@pytest.mark.parametrize(
    "cluster",
    [
        replace(uneven(), settings=ClusterSettings(rebalance=False)),
        replace(uneven(), settings=replace(ON, armed=False)),
        replace(uneven(), incidents=(incident("n3"),)),
        uneven([node("n1"), node("n2"), lost("n3")]),
        uneven([node("n1"), node("n2", maintenance=True)]),
        uneven([node("n1"), node("n2", evacuating=True)]),
        uneven([node("n1"), node("n2", quarantined_until=WHEN)]),
        uneven([node("n1", evacuating=True), node("n2")]),
        uneven([node("n1"), spare("n2")]),
        uneven([node("n1"), witness("n2")]),
        uneven([node("n1")]),
        uneven(count=1),
        uneven(locked=True),
        uneven(failed_nodes=("n2",)),
        uneven(desired=Desired.STOPPED),
    ],
    ids=[
        "off", "disarmed", "recovery", "node lost", "maintenance", "evacuating", "quarantine", "drain is not ours",
        "spare", "witness", "alone", "below the threshold", "suspended", "refused", "stopped",
    ],
)  # fmt: skip
def test_when_nothing_is_moved(cluster: ClusterView) -> None:
    assert moves_worth_making(cluster) == ()


def test_a_vm_that_is_not_verified_stays_where_it_is() -> None:
    cluster = uneven()
    unwell = tuple(replace(v, observed=replace(v.observed, verified_at=None)) for v in cluster.vms)
    assert moves_worth_making(replace(cluster, vms=unwell)) == ()


def test_the_caps_count_what_is_under_way() -> None:
    three = uneven([node("n1"), node("n2"), node("n3")])
    wide = replace(three, settings=replace(ON, migrations_max=4, migrations_per_node_max=2))
    assert [m.target for m in moves_worth_making(wide)] == ["n3", "n2"]
    (first, *others) = wide.vms
    one_under_way = replace(wide, vms=(replace(first, migrating_to="n2"), *others))
    assert [(m.vm_id, m.target) for m in moves_worth_making(one_under_way)] == [(2, "n3")]
    assert moves_worth_making(replace(one_under_way, settings=replace(ON, migrations_max=1))) == ()
    narrow = replace(one_under_way, settings=replace(ON, migrations_max=4, migrations_per_node_max=1))
    assert moves_worth_making(narrow) == ()


def test_it_holds_before_the_first_move_and_lets_a_moved_vm_rest() -> None:
    settings = RebalanceSettings(hold_seconds=300, rest_seconds=3600)
    cluster, memory = uneven(), RebalanceMemory()
    memory, moves = look(cluster, 1000.0, memory, settings)
    assert moves == ()
    memory, moves = look(cluster, 1299.9, memory, settings)
    assert moves == ()
    memory, moves = look(cluster, 1300.0, memory, settings)
    assert [m.vm_id for m in moves] == [1]
    memory = memory.moved(1, 1300.0)
    memory, moves = look(cluster, 1301.0, memory, settings)
    assert [m.vm_id for m in moves] == [2], "the first one rests"
    memory, _ = look(cluster, 1300.0 + 3600, memory, settings)
    assert memory.moved_at == {}


def test_a_moment_of_balance_or_a_recovery_starts_the_hold_anew() -> None:
    settings = RebalanceSettings(hold_seconds=300)
    memory, _ = look(uneven(), 1000.0, RebalanceMemory(), settings)
    memory, moves = look(replace(uneven(), incidents=(incident("n2"),)), 1200.0, memory, settings)
    assert (memory.uneven_since, moves) == (None, ())
    memory, moves = look(uneven(), 1400.0, memory, settings)
    assert moves == ()
    assert memory.uneven_since == 1400.0


def test_a_quarantine_that_is_over_is_no_reason() -> None:
    over = replace(uneven([node("n1"), node("n2", quarantined_until=WHEN)]), at=WHEN + timedelta(seconds=1))
    assert len(moves_worth_making(over)) == 1


def test_a_move_that_would_break_the_guarantee_is_not_made() -> None:
    """The hole on n3 is what saves the large VM when its node is lost; the small ones would fill it."""
    large = [running(1, "n1", memory_mib=3072)]
    small = [running(i, "n2", memory_mib=512) for i in range(2, 9)]
    cluster = replace(view([node("n1"), node("n2"), node("n3", memory_mib=3584)], [*large, *small]), settings=ON)
    best_effort = tuple(replace(v, ha=HaPolicy(HaClass.BEST_EFFORT)) if v.id > 1 else v for v in cluster.vms)
    cluster = replace(cluster, vms=best_effort)
    (free, more) = moves_worth_making(replace(cluster, settings=replace(ON, migrations_per_node_max=2)))
    assert {free.target, more.target} == {"n3"}
    promised = replace(cluster, settings=replace(ON, guarantee=1, migrations_per_node_max=2))
    assert not broken_promise(promised, 1)
    assert len(moves_worth_making(promised)) == 1


@pytest.mark.parametrize("wrong", [{"threshold": 0}, {"gain_min": 0}, {"threshold": 1.5}, {"hold_seconds": -1}])
def test_figures_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must|shares"):
        RebalanceSettings(**wrong)


# -- for every cluster


@st.composite
def _clusters(draw: st.DrawFn) -> ClusterView:
    rows = draw(
        st.lists(
            st.tuples(st.integers(1, 16), st.sampled_from([NodeRole.COMPUTE] * 5 + [NodeRole.SPARE]), st.booleans()),
            min_size=2,
            max_size=5,
        )
    )
    nodes = [
        node(f"n{i}", memory_mib=m * 512, role=role, maintenance=out and i > 2)
        for i, (m, role, out) in enumerate(rows, start=1)
    ]
    vms: list[Vm] = []
    for i, (home, memory, alive) in enumerate(
        draw(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 12), st.booleans()), max_size=20)), start=1
    ):
        one = running(i, nodes[home % len(nodes)].name, memory_mib=memory * 128)
        if loads_of(view(nodes, [*vms, one]))[one.node or ""].memory_free_mib >= 0:
            vms.append(one if alive else replace(one, observed=seen(one.observed.power, one)))
    caps = draw(st.sampled_from([(1, 1), (2, 1), (4, 2), (8, 8)]))
    settings = replace(ON, migrations_max=caps[0], migrations_per_node_max=caps[1])
    return replace(view(nodes, vms), settings=settings)


def _potential(cluster: ClusterView) -> float:
    return sum(share(x) ** 2 * x.node.memory_mib for x in loads_of(cluster).values())


@given(_clusters(), st.sampled_from([0.02, 0.15, 0.5]), st.sampled_from([0.01, 0.05]))
def test_repeated_it_ends_and_never_makes_the_cluster_less_even(
    cluster: ClusterView, threshold: float, gain: float
) -> None:
    settings = RebalanceSettings(threshold=threshold, gain_min=gain)
    for _ in range(200):
        moves = moves_worth_making(cluster, settings)
        if not moves:
            break
        assert len(moves) <= cluster.settings.migrations_max
        rows = {v.id: v for v in cluster.vms}
        assert len({m.vm_id for m in moves}) == len(moves)
        for m in moves:
            target = cluster.node(m.target)
            assert target is not None
            assert target.role is NodeRole.COMPUTE
            assert target.state is NodeState.ONLINE
            assert not target.maintenance
            assert rows[m.vm_id].node == m.source != m.target
            assert rows[m.vm_id].verified
        after = carried_out(cluster, moves)
        assert imbalance(after) <= imbalance(cluster) + 1e-9
        assert _potential(after) < _potential(cluster)
        assert all(x.memory_free_mib >= 0 for x in loads_of(after).values())
        cluster = after
    else:
        raise AssertionError("it does not end")


@given(_clusters())
def test_both_ends_hold_the_memory_until_a_migration_has_ended(cluster: ClusterView) -> None:
    moves = moves_worth_making(cluster, RebalanceSettings(threshold=0.02, gain_min=0.01))
    free = {name: load.memory_free_mib for name, load in loads_of(cluster).items()}
    for m in moves:
        free[m.target] -= next(v for v in cluster.vms if v.id == m.vm_id).memory_mib
        assert free[m.target] >= 0
