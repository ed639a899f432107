"""Rolling reboots: which order the plan finds, what it refuses, and what a run does next. The properties hold for every
cluster that hypothesis thinks of."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.actions import AdvanceRolling, RebootNode
from app.domain.cluster import ClusterView
from app.domain.cluster_settings import ClusterSettings
from app.domain.events import MembershipChanged, RebootAsked
from app.domain.migration import TRIES_MAX, Migration
from app.domain.node import NodeRole, NodeState
from app.domain.policy import HaClass
from app.domain.recovery import unplaced_after
from app.domain.rolling import RollingPlan, at_rest, plan_rolling
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.domain.rolling_steps import RollingTimes, Turn, Verb, next_turn, standing
from app.domain.vm import Vm
from tests.domain.make import WHEN, incident, lost, node, spare, up, view, vm, witness
from tests.domain.one_agent import Coordinator, NodeAgent, names, only, running

NOBODY: frozenset[str] = frozenset()
TIMES = RollingTimes()


def _up(vm_id: int, where: str, **other: Any) -> Vm:
    one = vm(vm_id, where, **other)
    return replace(one, observed=up(one))


def _three(per_node: int = 1, **settings: Any) -> ClusterView:
    vms = [_up(10 * n + i, f"n{n}") for n in (1, 2, 3) for i in range(per_node)]
    return replace(view([node("n1"), node("n2"), node("n3")], vms), settings=ClusterSettings(**settings), at=WHEN)


def _order(plan: RollingPlan) -> list[str]:
    return [s.node for s in plan.steps]


def _reason(plan: RollingPlan, name: str) -> str:
    return next(r.reason for r in plan.refused if r.node == name)


# -- the plan


def test_every_node_goes_once_the_coordinator_last() -> None:
    plan = plan_rolling(_three(), last="n1")
    assert _order(plan) == ["n2", "n3", "n1"]
    assert plan.refused == ()
    assert [len(s.moves) for s in plan.steps] == [1, 1, 2], "what moved to n1 leaves it again"


def test_witnesses_and_spares_go_first_then_the_emptiest() -> None:
    nodes = [node("n1"), node("n2"), spare("n3"), witness("n4"), node("n5")]
    plan = plan_rolling(view(nodes, [_up(1, "n1"), _up(2, "n1"), _up(3, "n2")]))
    assert _order(plan) == ["n4", "n3", "n5", "n2", "n1"]


def test_only_what_was_asked_for() -> None:
    plan = plan_rolling(_three(), ["n3", "n9"])
    assert _order(plan) == ["n3"]
    assert _reason(plan, "n9") == "is not in the cluster"


def test_without_quorum_nobody_goes() -> None:
    assert "without it 1 of 2 votes are left, 2 are needed" in _reason(
        plan_rolling(view([node("n1"), node("n2")])), "n1"
    )
    assert "without it 0 of 1 votes" in _reason(plan_rolling(view([node("n1")])), "n1")
    plan = plan_rolling(view([node("n1"), node("n2"), lost("n3")]))
    assert _order(plan) == []
    assert _reason(plan, "n3") == "is lost"


def test_a_node_that_cannot_be_emptied_is_refused_with_its_vm() -> None:
    nodes = [node("n1", memory_mib=1024), node("n2", memory_mib=1024), witness("n3")]
    plan = plan_rolling(view(nodes, [_up(1, "n1", memory_mib=768), _up(2, "n2", memory_mib=768)]))
    assert _order(plan) == ["n3"]
    assert _reason(plan, "n1").startswith("vm1 cannot leave it: no node can take it")
    local = plan_rolling(view([node("n1"), node("n2"), node("n3")], [_up(1, "n1", local=True)]))
    assert "its volumes are on this node alone" in _reason(local, "n1")
    assert _order(local) == ["n2", "n3"]


def test_a_node_that_is_refused_at_first_goes_when_another_has_made_room() -> None:
    """n1's VM fits on no other; once n2 was emptied to n3 and is back, it does, though n2 is the coordinator."""
    nodes = [node("n1", memory_mib=1024), node("n2", memory_mib=1024), node("n3", memory_mib=512)]
    vms = [_up(1, "n1", memory_mib=1024), _up(2, "n2", memory_mib=512)]
    plan = plan_rolling(view(nodes, vms), last="n2")
    assert _order(plan) == ["n3", "n2", "n1"]
    assert plan.refused == ()


def test_the_guarantee_holds_while_each_of_them_is_away() -> None:
    five = [node(f"n{i}", memory_mib=1024) for i in range(1, 6)]
    full = replace(view(five, [_up(i, f"n{i}") for i in range(1, 6)]), settings=ClusterSettings(guarantee=1))
    assert len(plan_rolling(full).steps) == 5
    more = replace(full, vms=(*full.vms, _up(6, "n1"), _up(7, "n2")))
    plan = plan_rolling(more)
    assert plan.steps == ()
    assert "breaks the guarantee of 1 more while it is away: the loss of" in _reason(plan, "n1")
    forced = plan_rolling(more, force=True)
    assert len(forced.steps) == 5
    assert all(s.breaks for s in forced.steps)


def test_the_guarantee_needs_votes_as_well() -> None:
    plan = plan_rolling(_three(guarantee=1))
    assert "1 of 3 votes would be left, 2 are needed for quorum" in _reason(plan, "n1")


def test_a_node_in_an_operators_maintenance_is_left_to_them() -> None:
    nodes = [node("n1", maintenance=True), node("n2", leaving="migrate"), node("n3")]
    plan = plan_rolling(view(nodes))
    assert "in maintenance already" in _reason(plan, "n1")
    assert _reason(plan, "n2") == "is being shut down"
    assert _order(plan) == ["n3"]


_SIZES = st.sampled_from((256, 512, 1024, 2048))


@st.composite
def _clusters(draw: st.DrawFn) -> ClusterView:
    roles = draw(st.lists(st.sampled_from((*["compute"] * 4, "spare", "witness")), min_size=1, max_size=6))
    states = st.sampled_from((*[NodeState.ONLINE] * 8, NodeState.LOST, NodeState.FENCED))
    nodes = [
        node(f"n{i}", role=NodeRole(r), state=draw(states), memory_mib=draw(st.sampled_from((1024, 2048, 4096))))
        for i, r in enumerate(roles, start=1)
    ]
    hosts = [n for n in nodes if n.role is NodeRole.COMPUTE]
    vms: list[Vm] = []
    for i in range(draw(st.integers(0, 10)) if hosts else 0):
        home, size = draw(st.sampled_from(hosts)), draw(_SIZES)
        used = sum(v.memory_mib for v in vms if v.node == home.name)
        if used + size <= home.memory_mib:
            vms.append(_up(i + 1, home.name, memory_mib=size, local=draw(st.integers(0, 9)) == 0))
    settings = ClusterSettings(guarantee=draw(st.sampled_from((0, 0, 1))))
    return replace(view(nodes, vms), settings=settings)


@given(_clusters(), st.booleans())
def test_no_step_loses_quorum_strands_a_vm_or_breaks_the_guarantee(cluster: ClusterView, force: bool) -> None:
    plan = plan_rolling(cluster, force=force)
    told = _order(plan) + [r.node for r in plan.refused]
    assert sorted(told) == sorted(n.name for n in cluster.nodes), "every node once"
    assert all(r.reason for r in plan.refused)
    rows, where = {n.name: n for n in cluster.nodes}, {v.id: v.node for v in cluster.vms}
    sizes = {v.id: v.memory_mib for v in cluster.vms}
    for step in plan.steps:
        others = [n for n in cluster.online() if n.name != step.node]
        assert len(others) > len(cluster.nodes) // 2, "quorate without it"
        for moved in step.moves:
            assert where[moved.vm_id] == step.node
            where[moved.vm_id] = moved.to
        assert step.node not in where.values(), "nothing is left behind"
        for other in others:
            carried = sum(sizes[i] for i, at in where.items() if at == other.name)
            assert carried <= rows[other.name].memory_mib
            assert not carried or rows[other.name].role is NodeRole.COMPUTE
        if cluster.settings.guarantee and not force:
            _survives_one_more(cluster, where, step.node)


def _survives_one_more(cluster: ClusterView, where: dict[int, str | None], away: str) -> None:
    assert len(cluster.online()) - 2 > len(cluster.nodes) // 2, "quorate without it and one more"
    nodes = tuple(replace(n, state=NodeState.FENCED) if n.name == away else n for n in cluster.nodes)
    vms = tuple(_up(v.id, where[v.id] or "", memory_mib=v.memory_mib, local=v.local) for v in cluster.vms)
    now = replace(cluster, nodes=nodes, vms=vms)
    for other in now.online():
        stranded = unplaced_after(now, frozenset({other.name}))
        assert not [v for v in stranded if v.ha.ha_class is HaClass.GUARANTEED]


def test_what_is_under_way_counts_as_arrived() -> None:
    moving = replace(_up(1, "n1"), migrating_to="n2", migration=Migration(2, "n2", tries=TRIES_MAX))
    (rested,) = at_rest(view([node("n1"), node("n2")], [moving])).vms
    assert (rested.node, rested.migrating_to, rested.migration.tries, rested.migration.wanted_to) == (
        "n2",
        None,
        0,
        None,
    )


# -- the run


def _run(**fields: Any) -> RollingRun:
    facts: dict[str, Any] = {"state": RunState.RUNNING, "pending": ("n2", "n3"), "since": WHEN, "turns": 7, **fields}
    return RollingRun(**facts)


def _next(cluster: ClusterView, run: RollingRun, away: frozenset[str] = NOBODY) -> Turn | None:
    return next_turn(replace(cluster, rolling=run), away, TIMES)


def _with(cluster: ClusterView, name: str, **changes: Any) -> ClusterView:
    return replace(cluster, nodes=tuple(replace(n, **changes) if n.name == name else n for n in cluster.nodes))


def _later(cluster: ClusterView, seconds: float) -> ClusterView:
    return replace(cluster, at=WHEN + timedelta(seconds=seconds))


def test_the_first_that_can_go_is_begun() -> None:
    assert _next(_three(), _run()) == Turn(7, Verb.DRAIN, "n2", "1 VMs move away")
    busy = _with(_three(), "n2", maintenance=True)
    begun = _next(busy, _run())
    assert begun is not None
    assert (begun.verb, begun.node) == (Verb.DRAIN, "n3")


def test_nothing_is_begun_or_rebooted_while_not_all_others_are_well() -> None:
    drained = _with(_three(0), "n2", evacuating=True, maintenance=True)
    present = _run(node="n2", pending=("n3",))
    reboot = _next(drained, present)
    assert reboot is not None
    assert reboot.verb is Verb.REBOOT
    for cluster, run in ((_three(), _run()), (drained, present)):
        disarmed = replace(cluster, settings=ClusterSettings(armed=False))
        assert _next(disarmed, run) is None
        assert _next(replace(cluster, incidents=(incident("n1"),)), run) is None
        assert _next(_with(cluster, "n1", state=NodeState.LOST), run) is None
        assert _next(_with(cluster, "n1", leaving="freeze"), run) is None
        assert _next(cluster, run, away=frozenset({"n1"})) is None
        assert "n1 is away" in standing(replace(cluster, rolling=run), frozenset({"n1"}))
        assert "disarmed" in standing(replace(disarmed, rolling=run))


def test_a_vm_that_cannot_leave_stops_it() -> None:
    broken = replace(_up(1, "n2"), migration=Migration(3, tries=TRIES_MAX, error="the cable"))
    cluster = _with(replace(_three(0), vms=(broken,)), "n2", evacuating=True, maintenance=True)
    turn = _next(cluster, _run(node="n2"))
    assert turn is not None
    assert turn.verb is Verb.STOP
    assert "cannot be emptied: vm1: stuck: 3 tries failed" in turn.why
    moving = replace(_up(1, "n2"), migrating_to="n1")
    assert _next(replace(cluster, vms=(moving,)), _run(node="n2")) is None


def test_another_boot_ends_the_reboot_and_a_while_of_health_the_maintenance() -> None:
    down = _with(_three(0), "n2", evacuating=True, maintenance=True, leaving="migrate", boot_id="old", health="ok")
    run = _run(node="n2", step=RunStep.REBOOTING, boot_id="old")
    assert _next(_later(down, 899), run, away=frozenset({"n2"})) is None
    late = _next(_later(down, 900), run, away=frozenset({"n2"}))
    assert late is not None
    assert late.verb is Verb.STOP
    assert "did not come back by a new boot, 900 s after its reboot was asked for" in late.why
    back = _with(down, "n2", boot_id="new", leaving="")
    settle = _next(back, run)
    assert settle is not None
    assert settle.verb is Verb.SETTLE
    settling = replace(run, step=RunStep.SETTLING)
    assert _next(_later(back, 9), settling) is None
    well = _next(_later(back, 10), settling)
    assert well is not None
    assert well.verb is Verb.RETURN
    for sick in (_with(back, "n2", health="pool"), _with(back, "n2", state=NodeState.FENCED)):
        assert _next(_later(sick, 100), settling) is None
        given_up = _next(_later(sick, 900), settling)
        assert given_up is not None
        assert given_up.verb is Verb.STOP


def test_an_operator_who_returns_the_node_or_stops_the_run_is_obeyed() -> None:
    returned = _next(_three(), _run(node="n2"))
    assert returned is not None
    assert (returned.verb, returned.why) == (Verb.STOP, "was returned by an operator before its reboot")
    stopped = _next(_three(), _run(state=RunState.STOPPING))
    assert stopped is not None
    assert (stopped.verb, stopped.why) == (Verb.STOP, "an operator stopped it")
    assert _next(_three(), _run(state=RunState.STOPPED)) is None
    finished = _next(_three(), _run(pending=(), rebooted=("n1", "n2")))
    assert finished is not None
    assert (finished.verb, finished.why) == (Verb.FINISH, "2 nodes were rebooted")


def test_what_no_longer_fits_stops_it_with_each_reason_once() -> None:
    turn = _next(_three(guarantee=1), _run())
    assert turn is not None
    assert turn.verb is Verb.STOP
    assert turn.why.startswith("n2, n3: breaks the guarantee of 1 more")


# -- the two cores


def test_the_coordinator_writes_one_turn_a_view() -> None:
    one = Coordinator.leading()
    cluster = replace(_three(), rolling=_run())
    (turn,) = only(AdvanceRolling, one.sees(1.0, cluster))
    assert turn.turn.verb is Verb.DRAIN
    assert only(AdvanceRolling, one.step(1.2)) == []


def _told_to_reboot(**facts: Any) -> NodeAgent:
    one = NodeAgent.quorate()
    one.row = node("n1", evacuating=True, maintenance=True, boot_id="b", reboot_of="b", **facts)
    return one


def test_an_idle_node_reboots_itself_once() -> None:
    one = _told_to_reboot()
    (asked,) = only(RebootNode, one.sees(1.0, (), ()))
    assert asked == RebootNode("b")
    assert only(RebootNode, one.sees(2.0, (), ())) == []
    assert only(RebootNode, one.sees(122.0, (), ())) == [RebootNode("b")]


def test_a_node_with_anything_on_it_does_not() -> None:
    assert only(RebootNode, _told_to_reboot().sees(1.0, (running(5),), ())) == []
    assert only(RebootNode, _told_to_reboot().sees(1.0, (), (vm(5),))) == []
    assert only(RebootNode, _told_to_reboot(state=NodeState.FENCED).sees(1.0, (), ())) == []
    alone = _told_to_reboot()
    alone.step(0.5, MembershipChanged(names("n1"), quorate=False))
    assert only(RebootNode, alone.sees(1.0, (), ())) == []


def test_a_refused_reboot_is_said_in_the_nodes_health() -> None:
    one = _told_to_reboot()
    one.sees(1.0, (), ())
    one.step(1.2, RebootAsked("systemctl reboot: no permission"))
    assert "reboot refused: systemctl reboot: no permission" in one.state.health
