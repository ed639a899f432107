"""The promise: what it says for clusters that one can work out by hand, and that it is never more than the recovery can
keep, for every cluster that hypothesis thinks of."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.capacity import Capacity, broken_promise, domains_of, prove, storm_limit, votes_to_spare
from app.domain.capacity_bound import Bound
from app.domain.capacity_courses import settled
from app.domain.cluster import ClusterView
from app.domain.cluster_settings import ClusterSettings
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.policy import HaClass, HaPolicy, PlacementNeeds
from app.domain.recovery import unplaced_after
from app.domain.vm import Desired, Vm
from tests.domain.losses import bad_losses
from tests.domain.make import fenced, lost, node, spare, view, vm, witness

BEST_EFFORT = HaPolicy(HaClass.BEST_EFFORT)


def room(capacity: Capacity) -> tuple[int, bool]:
    return capacity.by_room, capacity.exact


def three(per_node: int, **facts: Any) -> ClusterView:
    """Three nodes of 4096 MiB with so many VMs of 512 MiB on each."""
    vms = [vm(10 * n + i, f"n{n}", **facts) for n in (1, 2, 3) for i in range(per_node)]
    return view([node("n1"), node("n2"), node("n3")], vms)


# -- by hand


def test_an_empty_cluster_survives_all_but_one() -> None:
    assert room(prove(three(0))) == (2, True)


def test_uniform_vms_are_exact_to_the_last_one() -> None:
    assert room(prove(three(2))) == (2, True)
    assert room(prove(three(5))) == (1, True)  # 15 VMs, 16 places on two nodes, 8 on one
    assert room(prove(three(6))) == (0, True)  # 18 VMs, 16 places


def test_a_level_that_is_not_survived_names_the_loss_and_the_vms_with_their_reasons() -> None:
    level = prove(three(6)).levels[0]
    assert (level.survivable, level.exact, level.worst) == (False, True, ("n3",))
    assert [(s.vm_id, s.guaranteed) for s in level.stranded] == [(34, True), (35, True)]
    assert level.stranded[0].reason.startswith("no node can take it: ")
    assert level.why.startswith("the loss of n3 would leave vm34 and 1 more (1024 MiB) without a node: no node can")


def test_a_level_that_is_survived_names_the_tightest_loss_and_what_is_left() -> None:
    cluster = view([node("n1", memory_mib=8192), node("n2"), node("n3")], [vm(1, "n1"), vm(2, "n2")])
    level = prove(cluster).levels[0]
    assert (level.survivable, level.worst, level.headroom_mib) == (True, ("n1",), 4096 + 3584 - 512)


def test_a_large_vm_needs_a_hole_of_its_size_and_not_only_memory() -> None:
    vms = [vm(1, "n1", memory_mib=2048)] + [vm(10 * n, f"n{n}", memory_mib=2560, ha=BEST_EFFORT) for n in (2, 3, 4)]
    nodes = [node(f"n{i}") for i in (1, 2, 3, 4)]
    capacity = prove(view(nodes, vms))
    assert room(capacity) == (0, True), "4608 MiB are free on three nodes, in pieces of 1536"
    assert capacity.levels[0].worst == ("n1",)


def test_spares_count_and_can_fail_too() -> None:
    full = [vm(i, "n1") for i in range(8)] + [vm(10 + i, "n2") for i in range(8)]
    assert room(prove(view([node("n1"), node("n2")], full))) == (0, True)
    assert room(prove(view([node("n1"), node("n2"), spare("n3")], full))) == (1, True)
    assert room(prove(view([node("n1"), node("n2"), spare("n3"), spare("n4")], full))) == (2, True)


def test_maintenance_takes_a_nodes_room_away_and_its_vms_can_still_be_lost() -> None:
    cluster = three(3)
    assert room(prove(cluster)) == (1, True)
    nodes = (replace(cluster.nodes[0], maintenance=True), *cluster.nodes[1:])
    assert room(prove(replace(cluster, nodes=nodes))) == (1, True)
    assert room(prove(replace(three(5), nodes=nodes))) == (0, True)


def test_best_effort_vms_take_room_and_are_promised_nothing() -> None:
    mixed = three(4, ha=BEST_EFFORT)
    assert room(prove(mixed)) == (2, True)
    guaranteed = tuple(replace(v, ha=HaPolicy()) if v.node == "n1" else v for v in mixed.vms)
    assert room(prove(replace(mixed, vms=guaranteed))) == (1, True), "two losses: n3 keeps 4 of its own"
    assert all(s.guaranteed for x in prove(replace(mixed, vms=guaranteed)).levels for s in x.stranded)


def test_overcommit_and_cores_count_as_they_do_in_placement() -> None:
    tight = three(6)
    assert room(prove(replace(tight, settings=ClusterSettings(memory_overcommit=1.5)))) == (1, True)
    starved = three(3, cores=8)
    assert room(prove(replace(starved, settings=ClusterSettings(cpu_overcommit=4.0)))) == (0, True)
    assert room(prove(replace(starved, settings=ClusterSettings(cpu_overcommit=5.0)))) == (1, True)


def test_tags_narrow_where_a_vm_may_go() -> None:
    ssd = PlacementNeeds(tags=("ssd",))
    nodes = [node("n1", tags=("ssd",)), node("n2"), node("n3", tags=("ssd",))]
    assert room(prove(view(nodes, [vm(1, "n1", needs=ssd)]))) == (1, True)
    assert room(prove(view(nodes[:2], [vm(1, "n1", needs=ssd)]))) == (0, True)


def test_a_strict_spread_needs_a_node_that_has_none_of_it() -> None:
    apart = PlacementNeeds(groups=("db",))
    vms = [vm(n, f"n{n}", needs=apart) for n in (1, 2)]
    group = PlacementGroup(1, 1, "db", GroupKind.SPREAD)
    assert room(prove(replace(view([node("n1"), node("n2")], vms), groups=(group,)))) == (0, True)
    third = replace(view([node("n1"), node("n2"), node("n3")], vms), groups=(group,))
    assert room(prove(third)) == (1, True)
    racks = tuple(replace(n, rack=r) for n, r in zip(third.nodes, "abb", strict=True))
    by_rack = replace(third, nodes=racks, groups=(replace(group, domain=GroupDomain.RACK),))
    assert room(prove(by_rack)) == (0, True), "rack a is the only other one for the VM of rack b, and the reverse"


def test_vms_that_must_be_together_need_one_node_for_all() -> None:
    pair = [vm(i, "n1", memory_mib=1024, needs=PlacementNeeds(groups=("pair",))) for i in (1, 2)]
    group = PlacementGroup(1, 1, "pair", GroupKind.TOGETHER)
    nodes = [node("n1"), node("n2", memory_mib=1536), node("n3", memory_mib=1536)]
    assert room(prove(replace(view(nodes, pair), groups=(group,)))) == (0, True)
    assert room(prove(replace(view([*nodes, node("n4")], pair), groups=(group,))))[0] == 1


def test_a_rack_fails_as_a_whole() -> None:
    nodes = [node(f"n{i}", rack="a" if i < 3 else "b") for i in (1, 2, 3, 4)]
    vms = [vm(10 * n + i, f"n{n}") for n in (1, 2, 3, 4) for i in range(5)]
    cluster = view(nodes, vms)
    assert room(prove(cluster)) == (1, True)
    capacity = prove(cluster, racks=True)
    assert room(capacity) == (0, True)
    assert capacity.levels[0].worst in (("rack a",), ("rack b",))
    assert room(prove(replace(cluster, vms=cluster.vms[::2]), racks=True)) == (1, True)


def test_a_node_that_is_lost_already_is_planned_first() -> None:
    cluster = view([lost("n1"), node("n2"), node("n3")], [vm(i, "n1") for i in range(8)])
    assert room(prove(cluster)) == (1, True)
    assert prove(cluster).waiting == ()
    overfull = view([lost("n1"), node("n2")], [vm(i, "n1") for i in range(9)])
    assert [s.name for s in prove(overfull).waiting] == ["vm8"]


def test_what_waits_for_room_is_counted_as_if_it_took_it() -> None:
    """It may be placed at any moment, so a promise that forgot it would break then."""
    waiting = [vm(99, None, memory_mib=8192, incident_id=1)]
    cluster = three(5)
    capacity = prove(replace(cluster, vms=(*cluster.vms, *waiting)))
    assert [s.vm_id for s in capacity.waiting] == [99]
    assert broken_promise(replace(cluster, vms=(*cluster.vms, *waiting)), 1) == "vm99 has no node even now"


# -- votes


@pytest.mark.parametrize(
    ("nodes", "spare_votes"),
    [
        ([node("n1")], 0),
        ([node("n1"), node("n2")], 0),
        ([node("n1"), node("n2"), witness("n3")], 1),
        ([node("n1"), node("n2"), node("n3"), node("n4")], 1),
        ([node(f"n{i}") for i in range(1, 6)], 2),
        ([*(node(f"n{i}") for i in range(1, 5)), lost("n5")], 1),
        ([node("n1"), node("n2"), fenced("n3")], 0),
    ],
)
def test_votes_allow_fewer_failures_than_a_majority(nodes: list[Node], spare_votes: int) -> None:
    assert votes_to_spare(view(nodes)) == spare_votes


def test_the_answer_is_the_smallest_limit() -> None:
    two = prove(view([node("n1"), node("n2")], [vm(1, "n1")]))
    assert (two.by_room, two.by_votes, two.survivable) == (1, 0, 0)
    seven = [node(f"n{i}") for i in range(1, 8)]
    guarded = replace(view(seven), settings=ClusterSettings(storm_share=0.15))
    assert (prove(guarded).by_room, prove(guarded).by_votes, prove(guarded).survivable) == (6, 3, 1)
    assert storm_limit(replace(view(seven[:5]), settings=ClusterSettings(storm_share=0.6))) == 3


def test_racks_have_votes_too() -> None:
    nodes = [node(f"n{i}", rack="a" if i < 4 else "b") for i in range(1, 6)]
    assert votes_to_spare(view(nodes)) == 2
    assert votes_to_spare(view(nodes), racks=True) == 0


# -- a promise


def test_a_promise_that_holds_has_no_reason_and_one_that_does_not_says_why() -> None:
    assert broken_promise(three(6), 0) == ""
    assert broken_promise(three(5), 1) == ""
    assert "the loss of n1, n2" in broken_promise(three(5), 2) or "the loss of" in broken_promise(three(5), 2)
    assert broken_promise(three(0), 3) == "there are 3 nodes that can host VMs, and 3 may fail"


def test_without_effort_nothing_is_promised_that_was_not_proven() -> None:
    """The same cluster: enough work finds that it holds, none leaves it unproven, never the reverse."""
    vms = [vm(1, "n1", memory_mib=2048), vm(2, "n2", memory_mib=1536), vm(3, "n3", memory_mib=1024)]
    cluster = view([node("n1"), node("n2", memory_mib=3584), node("n3", memory_mib=2560)], vms)
    assert prove(cluster, failures_max=1).levels[0].survivable
    lazy = prove(cluster, failures_max=1, work_max=0).levels[0]
    if not lazy.survivable:
        assert not lazy.exact
        assert lazy.why.startswith("not proven")


# -- for every cluster

_MEMORY = st.sampled_from([256, 512, 512, 768, 1024, 1536, 2048])
_GROUPS = (
    PlacementGroup(1, 1, "apart", GroupKind.SPREAD),
    PlacementGroup(2, 1, "apart-rack", GroupKind.SPREAD, GroupDomain.RACK),
    PlacementGroup(3, 1, "soft", GroupKind.SPREAD_SOFT),
    PlacementGroup(4, 1, "one", GroupKind.TOGETHER),
)


@st.composite
def clusters(draw: st.DrawFn, nodes_max: int = 4, vms_max: int = 12, *, plain: bool = False) -> ClusterView:
    roles = st.just(NodeRole.COMPUTE) if plain else st.sampled_from([*[NodeRole.COMPUTE] * 6, *NodeRole])
    nodes = []
    for i in range(1, draw(st.integers(2, nodes_max)) + 1):
        facts: dict[str, Any] = {"memory_mib": draw(st.integers(4, 20)) * 256, "role": draw(roles)}
        if not plain:
            facts |= {
                "rack": draw(st.sampled_from(["", "a", "b"])),
                "cores": draw(st.sampled_from([2, 4, 8])),
                "tags": draw(st.sampled_from([(), (), ("ssd",)])),
                "maintenance": draw(st.sampled_from([False] * 5 + [True])),
                "state": draw(st.sampled_from([NodeState.ONLINE] * 8 + [NodeState.LOST])),
            }
        nodes.append(node(f"n{i}", **facts))
    vms: list[Vm] = []
    for i in range(1, draw(st.integers(0, vms_max)) + 1):
        home: str | None = draw(st.sampled_from(nodes)).name
        facts = {"memory_mib": draw(_MEMORY)}
        if not plain:
            facts |= {
                "cores": draw(st.sampled_from([1, 1, 2, 4])),
                "priority": draw(st.sampled_from([50, 50, 90])),
                "ha": draw(st.sampled_from([HaPolicy(), HaPolicy(), BEST_EFFORT])),
                "desired": draw(st.sampled_from([Desired.RUNNING] * 7 + [Desired.STOPPED])),
                "locked": draw(st.sampled_from([False] * 7 + [True])),
                "needs": PlacementNeeds(
                    tags=draw(st.sampled_from([(), (), (), ("ssd",)])),
                    groups=draw(st.sampled_from([(), (), (), ("apart",), ("apart-rack",), ("soft",), ("one",)])),
                ),
            }
            home = draw(st.sampled_from([home] * 9 + [None]))
        vms.append(vm(i, home, **facts))
    chosen = ClusterSettings(
        strategy=draw(st.sampled_from(["fewest-vms", "best-fit"])),
        memory_overcommit=1.0 if plain else draw(st.sampled_from([1.0, 1.25])),
        cpu_overcommit=4.0 if plain else draw(st.sampled_from([1.0, 2.0, 4.0])),
    )
    return replace(view(nodes, vms), groups=() if plain else _GROUPS, settings=chosen)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters())
def test_on_small_clusters_it_says_what_brute_force_says(cluster: ClusterView) -> None:
    """Sound and not useless: exact in both directions, level by level."""
    base = settled(cluster)
    for level in prove(cluster, failures_max=2).levels:
        assert level.exact
        bad = bad_losses(base, level.failures)
        assert level.survivable == (not bad), (level, bad)
        if not level.survivable:
            assert level.worst in bad


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters(nodes_max=5, vms_max=10, plain=True))
def test_three_failures_too(cluster: ClusterView) -> None:
    for level in prove(cluster, failures_max=3).levels:
        assert level.exact
        assert level.survivable == (not bad_losses(cluster, level.failures))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters(nodes_max=5, vms_max=20), st.integers(1, 4), st.integers(0, 300))
def test_whatever_the_effort_a_promise_is_kept(cluster: ClusterView, failures: int, work: int) -> None:
    """With little work, many failures, or racks, it may say no where yes is true; never the reverse."""
    base = settled(cluster)
    promised = prove(cluster, failures_max=failures, work_max=work).by_room
    for count in range(1, min(promised, 2) + 1):
        assert not bad_losses(base, count)
    if broken_promise(cluster, failures, work_max=work) == "" and failures <= 2:
        assert not bad_losses(base, failures)
    for level in prove(cluster, racks=True, failures_max=1, work_max=work).levels:
        if level.survivable:
            for rack in {n.rack for n in cluster.nodes if n.rack}:
                down = frozenset(n.name for n in base.nodes if n.rack == rack and n.state is NodeState.ONLINE)
                stranded = unplaced_after(base, down)
                assert not [v for v in stranded if v.ha.ha_class is HaClass.GUARANTEED]


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(clusters(), st.integers(1, 2))
def test_what_the_bound_clears_no_order_of_events_strands(cluster: ClusterView, failures: int) -> None:
    base = settled(cluster)
    names, domains = domains_of(base, racks=False)
    bound = Bound(base, domains)
    suspects = (
        {tuple(sorted(names[i] for i in s)) for s in bound.suspects(failures)} if len(names) >= failures else set()
    )
    assert set(bad_losses(base, failures)) <= suspects
    if len(names) > failures and bound.clears_all(failures):
        assert not suspects
