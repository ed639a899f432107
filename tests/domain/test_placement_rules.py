"""Constraints, groups, strategies, the repair search and the checker of contradictory rules."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.cluster import ClusterView
from app.domain.cluster_settings import ClusterSettings
from app.domain.placement import NoRoom, Placement, choose_node, explain
from app.domain.placement_advice import PlacementAdvice
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.placement_problems import placement_problems
from app.domain.policy import HaClass, HaPolicy, PlacementNeeds
from app.domain.recovery import PlacedBy, plan_recovery, start_order
from app.domain.vm import Vm
from tests.domain.make import WHEN, lost, node, view, vm

GIB = 1024


def needing(vm_id: int, where: str | None = None, *, size: int = 512, **needs: Any) -> Vm:
    return vm(vm_id, where, memory_mib=size, needs=PlacementNeeds(**needs))


def grouped(nodes: list[Any], vms: list[Vm], kind: GroupKind, domain: GroupDomain = GroupDomain.NODE) -> ClusterView:
    return replace(view(nodes, vms), groups=(PlacementGroup(1, 1, "g", kind, domain),))


@pytest.mark.parametrize(
    ("facts", "one", "why"),
    [
        ({"evacuating": True}, vm(9, None), "is being emptied for a maintenance"),
        ({"quarantined_until": WHEN + timedelta(hours=1)}, vm(9, None), "is in quarantine until 2026-01-01T01:00:00"),
        ({"pools": ("ceph",)}, vm(9, None), "does not reach the pool pool"),
        ({"networks": ("lan",)}, needing(9, networks=("dmz",)), "does not reach the network dmz"),
        ({"cpu_models": ("Old",)}, needing(9, cpu_model="EPYC"), "does not offer the CPU model EPYC"),
        ({"tags": ("hdd",)}, needing(9, tags=("ssd",)), "lacks the tag ssd"),
        ({"tags": ("old",)}, needing(9, avoid_tags=("old",)), "has the tag old, which this VM avoids"),
    ],
)
def test_each_constraint_refuses_and_says_why(facts: dict[str, Any], one: Vm, why: str) -> None:
    cluster = replace(view([node("n1", **facts)]), at=WHEN)
    choice = choose_node(cluster, one, recovery=True)
    assert isinstance(choice, NoRoom)
    assert choice.others[0][1].startswith(why)


def test_what_nobody_said_refuses_nothing_and_a_quarantine_ends() -> None:
    one = needing(9, networks=("dmz",), cpu_model="EPYC")
    assert isinstance(choose_node(view([node("n1")]), one), Placement)
    over = replace(view([node("n1", quarantined_until=WHEN)]), at=WHEN)
    assert isinstance(choose_node(over, one), Placement)


def test_overcommit_counts_for_memory_and_cores() -> None:
    full = [vm(i, "n1", memory_mib=1024, cores=4) for i in range(1, 5)]
    cluster = view([node("n1")], full)
    assert isinstance(choose_node(cluster, vm(9, None)), NoRoom)
    more = replace(cluster, settings=ClusterSettings(memory_overcommit=1.5))
    assert isinstance(choose_node(more, vm(9, None)), Placement)
    tight = choose_node(replace(more, settings=ClusterSettings(memory_overcommit=1.5, cpu_overcommit=2)), vm(9, None))
    assert isinstance(tight, NoRoom)
    assert tight.others == (("n1", "has 0 virtual cores free, 1 needed"),)


def test_best_fit_takes_the_fullest_node_that_has_room() -> None:
    cluster = view([node("n1"), node("n2"), node("n3")], [vm(1, "n2", memory_mib=3072), vm(2, "n3", memory_mib=3840)])
    best = choose_node(replace(cluster, settings=ClusterSettings(strategy="best-fit")), vm(9, None))
    assert isinstance(best, Placement)
    assert best.node == "n2"
    assert "least memory free" in best.why


def test_an_unknown_strategy_is_the_reference() -> None:
    cluster = replace(view([node("n1"), node("n2")], [vm(1, "n1")]), settings=ClusterSettings(strategy="magic"))
    choice = choose_node(cluster, vm(9, None))
    assert isinstance(choice, Placement)
    assert choice.node == "n2"


def test_spread_is_never_broken_and_soft_spread_only_when_nothing_else_is_left() -> None:
    nodes = [lost("n1"), node("n2"), node("n3")]
    vms = [needing(i, "n1", groups=("g",)) for i in (1, 2, 3)]
    strict = plan_recovery(grouped(nodes, vms, GroupKind.SPREAD), "n1")
    assert sorted(a.node for a in strict.assigned) == ["n2", "n3"]
    assert "group g" in strict.unplaced[0].reason
    soft = plan_recovery(grouped(nodes, vms, GroupKind.SPREAD_SOFT), "n1")
    assert sorted(a.node for a in soft.assigned)[:1] == ["n2"]
    assert {a.node for a in soft.assigned} == {"n2", "n3"}
    assert not soft.unplaced


def test_racks_are_failure_domains() -> None:
    nodes = [lost("n1", rack="a"), node("n2", rack="b"), node("n3", rack="b"), node("n4", rack="c")]
    vms = [needing(1, "n2", groups=("g",)), needing(2, "n1", groups=("g",))]
    plan = plan_recovery(grouped(nodes, vms, GroupKind.SPREAD, GroupDomain.RACK), "n1")
    assert [a.node for a in plan.assigned] == ["n4"]


def test_together_goes_where_all_of_it_has_room() -> None:
    nodes = [lost("n1"), node("n2", memory_mib=1024), node("n3", memory_mib=4096)]
    vms = [needing(i, "n1", groups=("g",)) for i in (1, 2, 3)] + [vm(9, "n3")]
    plan = plan_recovery(grouped(nodes, vms, GroupKind.TOGETHER), "n1")
    assert [a.node for a in plan.assigned] == ["n3", "n3", "n3"]


def test_the_repair_search_packs_what_the_first_pass_leaves() -> None:
    """First pass: 3 and 2 to each node, and the last 2 has no room. 3+3 and 2+2+2 have."""
    nodes = [lost("n1", memory_mib=16 * GIB), node("n2", memory_mib=6 * GIB), node("n3", memory_mib=6 * GIB)]
    vms = [vm(i, "n1", memory_mib=s * GIB) for i, s in enumerate((3, 3, 2, 2, 2), start=1)]
    plan = plan_recovery(view(nodes, vms), "n1")
    assert not plan.unplaced
    assert PlacedBy.REPAIR in {a.by for a in plan.assigned}
    assert any("repair search" in a.why for a in plan.assigned)


def test_guaranteed_before_best_effort_whatever_the_priority() -> None:
    cheap = vm(1, priority=90, ha=HaPolicy(ha_class=HaClass.BEST_EFFORT))
    assert [v.id for v in start_order([cheap, vm(2)])] == [2, 1]
    nodes = [lost("n1"), node("n2", memory_mib=512)]
    plan = plan_recovery(view(nodes, [replace(cheap, node="n1"), vm(2, "n1")]), "n1")
    assert [a.vm_id for a in plan.assigned] == [2]


def test_advice_refuses_and_prefers() -> None:
    advice = PlacementAdvice(
        refuse=lambda _, nodes: {n.name: "is too hot" for n in nodes if n.name == "n1"},
        score=lambda _, nodes: {"n3": 2.0},
    )
    cluster = replace(view([node("n1"), node("n2"), node("n3")], [vm(1, "n3")]), advice=advice)
    choice = choose_node(cluster, vm(9, None))
    assert isinstance(choice, Placement)
    assert choice.node == "n3"
    assert ("n1", "is too hot") in choice.others
    plan = plan_recovery(replace(cluster, vms=(vm(1, "n1"),)), "n1")
    assert [a.node for a in plan.assigned] == ["n3"]


def test_explain_judges_every_node() -> None:
    one = needing(1, "n1", tags=("ssd",))
    told = explain(view([node("n1", tags=("ssd",)), node("n2"), node("n3", tags=("ssd",))], [one]), one)
    assert {(j.node, j.takes) for j in told} == {("n1", True), ("n3", True), ("n2", False)}


def _found(cluster: ClusterView) -> set[str]:
    return {p.kind for p in placement_problems(cluster)}


def test_the_checker_names_what_cannot_be() -> None:
    nodes = [node("n1", cpu_models=("Old",), networks=("lan",), pools=("ceph",)), lost("n2", cpu_models=("Old",))]
    assert _found(view(nodes, [needing(1, tags=("ssd",))])) == {"tag"}
    assert _found(view(nodes, [needing(1, cpu_model="EPYC")])) == {"cpu-model"}
    assert _found(view(nodes[:1], [needing(1, networks=("dmz",))])) == {"network", "pool"}
    assert _found(view(nodes, [vm(1, memory_mib=8 * GIB, cores=9)])) == {"too-large", "too-many-cores"}
    assert _found(view(nodes, [needing(1, groups=("none",))])) == {"group"}
    assert _found(view(nodes, [vm(1)])) == set()


def test_the_checker_names_groups_that_cannot_hold() -> None:
    three = [needing(i, groups=("g",)) for i in (1, 2, 3)]
    assert _found(grouped([node("n1"), node("n2")], three, GroupKind.SPREAD)) == {"spread"}
    assert _found(grouped([node("n1"), node("n2")], three, GroupKind.SPREAD_SOFT)) == set()
    assert _found(grouped([node("n1", memory_mib=1024)], three, GroupKind.TOGETHER)) == {"together"}
    both = [replace(v, needs=PlacementNeeds(groups=("g", "h"))) for v in three[:2]]
    cluster = grouped([node("n1"), node("n2")], both, GroupKind.SPREAD)
    cluster = replace(cluster, groups=(*cluster.groups, PlacementGroup(2, 1, "h", GroupKind.TOGETHER)))
    assert _found(cluster) == {"apart-and-together"}


def test_the_checker_finds_a_ring_of_waiting_vms() -> None:
    ring = [vm(i, ha=HaPolicy(waits_for=(w,))) for i, w in ((1, 2), (2, 3), (3, 1), (4, 1))]
    (problem,) = placement_problems(view([node("n1")], ring))
    assert set(problem.vms) == {1, 2, 3}
    assert placement_problems(view([node("n1")], [vm(1, ha=HaPolicy(waits_for=(2, 3))), vm(2), vm(3)])) == ()
