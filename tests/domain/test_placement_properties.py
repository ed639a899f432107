"""What holds for the plan of every cluster that hypothesis thinks of, with every constraint in play."""

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.cluster import ClusterView
from app.domain.cluster_settings import ClusterSettings
from app.domain.node import Node, NodeRole
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.policy import HaClass, HaPolicy, PlacementNeeds
from app.domain.recovery import RecoveryPlan, plan_recovery, unplaced_after
from app.domain.vm import Vm
from tests.domain.make import WHEN, lost, node, view, vm

GROUPS = (
    PlacementGroup(1, 1, "spread", GroupKind.SPREAD),
    PlacementGroup(2, 1, "racks", GroupKind.SPREAD, GroupDomain.RACK),
    PlacementGroup(3, 1, "together", GroupKind.TOGETHER),
    PlacementGroup(4, 1, "soft", GroupKind.SPREAD_SOFT),
)
_SIZES = st.sampled_from([256, 512, 768, 1024, 1536, 2048])
_NODES = st.tuples(
    _SIZES.map(lambda m: 2 * m), st.sampled_from(["a", "b"]), st.sampled_from([(), ("ssd",)]),
    st.sampled_from([(), ("pool",), ("other",)]),
    st.sampled_from([{}, {}, {"maintenance": True}, {"evacuating": True}]),
    st.sampled_from([NodeRole.COMPUTE, NodeRole.COMPUTE, NodeRole.SPARE, NodeRole.WITNESS]),
)  # fmt: skip
_VMS = st.tuples(
    st.integers(0, 5), _SIZES, st.integers(1, 3), st.sampled_from(HaClass), st.sampled_from([50, 50, 90]),
    st.sampled_from([(), (), (), ("spread",), ("racks",), ("together",), ("soft",), ("spread", "racks")]),
    st.sampled_from([(), (), ("ssd",)]), st.sampled_from([(), (), ("ssd",)]),
)  # fmt: skip


@st.composite
def clusters(draw: st.DrawFn) -> ClusterView:
    """n1 was just lost; what runs on the others fits there, and heeds no rule: rules came later."""
    nodes: list[Node] = [lost("n1", rack="a")]
    for i, (memory, rack, tags, pools, more, role) in enumerate(
        draw(st.lists(_NODES, min_size=1, max_size=5)), start=2
    ):
        nodes.append(node(f"n{i}", memory_mib=memory, rack=rack, tags=tags, pools=pools, role=role, **more))
    vms: list[Vm] = []
    room = Counter({n.name: n.memory_mib for n in nodes})
    rows = draw(st.lists(_VMS, max_size=14))
    for i, (home, size, cores, kind, priority, groups, tags, avoid) in enumerate(rows, start=1):
        where = nodes[home].name if home < len(nodes) else "n1"
        if where != "n1" and (room[where] < size or nodes[home].role is NodeRole.WITNESS):
            where = "n1"
        room[where] -= size
        facts: dict[str, Any] = {"memory_mib": size, "cores": cores, "priority": priority}
        needs = PlacementNeeds(tags=tags, avoid_tags=avoid if avoid != tags else (), groups=groups)
        vms.append(vm(i, where, ha=HaPolicy(ha_class=kind), needs=needs, **facts))
    strategy = draw(st.sampled_from(["fewest-vms", "best-fit"]))
    settings = ClusterSettings(strategy=strategy, cpu_overcommit=draw(st.sampled_from([1.0, 4.0])))
    return replace(view(nodes, vms), groups=GROUPS, settings=settings, at=WHEN)


def _after(cluster: ClusterView, plan: RecoveryPlan) -> dict[int, str]:
    """Where every VM is once the plan is carried out."""
    places = {v.id: v.node for v in cluster.vms if v.node is not None and v.node != "n1"}
    return places | {a.vm_id: a.node for a in plan.assigned}


@given(clusters())
def test_no_constraint_is_broken_and_every_owed_vm_has_a_word(cluster: ClusterView) -> None:
    plan = plan_recovery(cluster, "n1")
    rows, nodes = {v.id: v for v in cluster.vms}, {n.name: n for n in cluster.nodes}
    owed = {v.id for v in cluster.vms if v.node == "n1"}
    assert {a.vm_id for a in plan.assigned} | {u.vm_id for u in plan.unplaced} == owed
    assert len(plan.assigned) + len(plan.unplaced) == len(owed)
    assert all(u.reason for u in plan.unplaced)
    places = _after(cluster, plan)
    for a in plan.assigned:
        one, host = rows[a.vm_id], nodes[a.node]
        assert not host.maintenance
        assert not host.evacuating
        assert host.role is not NodeRole.WITNESS
        assert not host.pools or one.pool in host.pools
        assert set(one.needs.tags) <= set(host.tags)
        assert not set(one.needs.avoid_tags) & set(host.tags)
        there = [rows[v] for v, name in places.items() if name == a.node]
        assert sum(v.memory_mib for v in there) <= host.memory_mib
        assert sum(v.cores for v in there) <= host.cores * cluster.settings.cpu_overcommit
        _check_groups(one, host, places, rows, nodes)


def _check_groups(one: Vm, host: Node, places: dict[int, str], rows: dict[int, Vm], nodes: dict[str, Node]) -> None:
    for group in GROUPS:
        if group.name not in one.needs.groups:
            continue
        others = [nodes[n] for v, n in places.items() if v != one.id and group.name in rows[v].needs.groups]
        if group.kind is GroupKind.SPREAD and group.domain is GroupDomain.NODE:
            assert host not in others
        if group.kind is GroupKind.SPREAD and group.domain is GroupDomain.RACK:
            assert host.rack not in {n.rack for n in others}
        if group.kind is GroupKind.TOGETHER and (staying := [n for n in others if not n.evacuating]):
            assert host in staying


@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(cluster: ClusterView, random: Any) -> None:
    nodes, vms = list(cluster.nodes), list(cluster.vms)
    random.shuffle(nodes)
    random.shuffle(vms)
    assert plan_recovery(replace(cluster, nodes=tuple(nodes), vms=tuple(vms)), "n1") == plan_recovery(cluster, "n1")


def _stranded_by_rank(vms: tuple[Vm, ...]) -> list[int]:
    """Memory without a node, the most important first."""
    ranks = [(kind, priority) for kind in HaClass for priority in (90, 50)]
    return [sum(v.memory_mib for v in vms if (v.ha.ha_class, v.priority) == rank) for rank in ranks]


@given(clusters())
def test_the_repair_never_strands_more_and_is_what_capacity_counts_with(cluster: ClusterView) -> None:
    lost_node = frozenset({"n1"})
    greedy = unplaced_after(cluster, lost_node, steps_max=0)
    repaired = unplaced_after(cluster, lost_node)
    assert _stranded_by_rank(repaired) <= _stranded_by_rank(greedy)
    assert {v.id for v in repaired} == {u.vm_id for u in plan_recovery(cluster, "n1").unplaced}
