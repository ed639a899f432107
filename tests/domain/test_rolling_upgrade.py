"""Rolling upgrades: what ends each step, what stops the run, and what holds whatever the world does meanwhile."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.domain.actions import Report, UpgradeNode
from app.domain.cluster import ClusterView
from app.domain.cluster_settings import ClusterSettings
from app.domain.events import HealthChecked, MembershipChanged, Reported, UpgradeAsked
from app.domain.node import DATABASE_SYNCED, Node, NodeState
from app.domain.rolling import RebootStep, at_rest, step_for, versions_besides
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.domain.rolling_steps import RollingTimes, Turn, Verb, next_turn, standing
from app.domain.vm import Observed, PowerSeen, Vm
from tests.domain.make import WHEN, incident, node, up, view, vm
from tests.domain.one_agent import NodeAgent, names, only, running

TIMES = RollingTimes()
OLD, NEW = "1.0.0", "1.1.0"


def _up(vm_id: int, where: str) -> Vm:
    one = vm(vm_id, where)
    return replace(one, observed=up(one))


def _three(*vms: Vm, **settings: Any) -> ClusterView:
    nodes = [node(f"n{i}", version=OLD, health="ok") for i in (1, 2, 3)]
    return replace(view(nodes, list(vms)), settings=ClusterSettings(**settings), at=WHEN)


def _run(**fields: Any) -> RollingRun:
    facts: dict[str, Any] = {
        "state": RunState.RUNNING, "pending": ("n2", "n3"), "since": WHEN, "turns": 7, "version": NEW, **fields,
    }  # fmt: skip
    return RollingRun(**facts)


def _next(cluster: ClusterView, run: RollingRun, away: frozenset[str] = frozenset()) -> Turn | None:
    return next_turn(replace(cluster, rolling=run), away, TIMES)


def _turn(cluster: ClusterView, run: RollingRun) -> Turn:
    found = _next(cluster, run)
    assert found is not None
    return found


def _with(cluster: ClusterView, name: str, **changes: Any) -> ClusterView:
    return replace(cluster, nodes=tuple(replace(n, **changes) if n.name == name else n for n in cluster.nodes))


def _later(cluster: ClusterView, seconds: float) -> ClusterView:
    return replace(cluster, at=WHEN + timedelta(seconds=seconds))


_DRAINED = {"evacuating": True, "maintenance": True}


def test_which_versions_are_in_the_way() -> None:
    nodes = [node("n1", version="1.0"), node("n2", version="1.1"), node("n3")]
    assert versions_besides("1.1", nodes) == ("1.0",)
    assert versions_besides("1.2", nodes) == ("1.0", "1.1")


def test_an_empty_node_is_to_upgrade_and_not_to_reboot() -> None:
    cluster = _with(_three(), "n2", **_DRAINED)
    assert _turn(cluster, _run(node="n2")).verb is Verb.UPGRADE
    assert _turn(cluster, _run(node="n2", version="")).verb is Verb.REBOOT


def test_what_ends_it_is_the_version_that_the_node_says() -> None:
    cluster = _with(_three(), "n2", **_DRAINED, upgrade_to=NEW, boot_id="old")
    run = _run(node="n2", step=RunStep.UPGRADING, boot_id="old")
    assert _next(cluster, run) is None
    assert "n2, of version 1.0.0, says 1.1.0" in standing(replace(cluster, rolling=run))
    rebooted = _with(cluster, "n2", boot_id="new")
    assert _next(rebooted, run) is None, "another boot is not another version"
    done = _with(cluster, "n2", version=NEW)
    assert _turn(done, run).verb is Verb.SETTLE
    settling = replace(run, step=RunStep.SETTLING)
    assert _next(_later(done, 9), settling) is None
    assert _turn(_later(done, 10), settling).verb is Verb.RETURN
    assert _turn(_three(), _run(pending=(), rebooted=("n1", "n2"))).why == "2 nodes were upgraded"


def test_a_node_takes_its_vms_back_when_its_database_has_everything() -> None:
    joining = _with(_three(), "n2", **_DRAINED, version=NEW, database="joining")
    run = _run(node="n2", step=RunStep.SETTLING)
    assert _next(_later(joining, 100), run) is None
    assert "its database joining" in standing(replace(joining, rolling=run))
    late = _turn(_later(joining, 900), run)
    assert (late.verb, late.why) == (
        Verb.STOP,
        "is online, health ok, its database joining, 900 s after its upgrade; it stays in maintenance",
    )
    synced = _with(joining, "n2", database=DATABASE_SYNCED)
    assert _turn(_later(synced, 100), run).verb is Verb.RETURN


def test_nobody_is_begun_while_a_member_of_the_database_lacks_something() -> None:
    cluster = _with(_three(), "n1", database="donor/desynced")
    assert _next(cluster, _run()) is None
    assert standing(replace(cluster, rolling=_run())) == "waits: the database on n1 is donor/desynced"
    assert _next(_with(cluster, "n2", **_DRAINED), _run(node="n2")) is None
    assert _turn(_with(cluster, "n1", database=DATABASE_SYNCED), _run()).verb is Verb.DRAIN


def test_an_agent_that_cannot_ends_the_run_at_once() -> None:
    cluster = _with(_three(), "n2", **_DRAINED, health="upgrade refused: no such version")
    turn = _turn(cluster, _run(node="n2", step=RunStep.UPGRADING))
    assert turn.verb is Verb.STOP
    assert turn.why == ("cannot be upgraded, its agent says: upgrade refused: no such version; it stays in maintenance")


def test_one_whose_time_is_over_ends_it_too() -> None:
    cluster = _with(_three(), "n2", **_DRAINED)
    run = _run(node="n2", step=RunStep.UPGRADING)
    assert _next(_later(cluster, 899), run) is None
    turn = _turn(_later(cluster, 900), run)
    assert turn.verb is Verb.STOP
    assert turn.why.startswith("says version 1.0.0 and not 1.1.0, 900 s after its upgrade was asked for")


# -- the node's agent


def _told(**facts: Any) -> NodeAgent:
    one = NodeAgent.quorate()
    one.row = node("n1", **_DRAINED, version=OLD, upgrade_to=NEW, **facts)
    return one


def test_an_idle_node_upgrades_itself_and_looks_after_it() -> None:
    one = _told()
    assert only(UpgradeNode, one.sees(1.0, (), ())) == [UpgradeNode(NEW)]
    assert only(UpgradeNode, one.sees(2.0, (), ())) == []
    assert only(UpgradeNode, one.sees(6.0, (), ())) == [UpgradeNode(NEW)], "has it failed? is it still under way?"


def test_a_node_with_anything_on_it_does_not() -> None:
    assert only(UpgradeNode, _told().sees(1.0, (running(5),), ())) == []
    assert only(UpgradeNode, _told().sees(1.0, (), (vm(5),))) == []
    assert only(UpgradeNode, _told(state=NodeState.FENCED).sees(1.0, (), ())) == []
    alone = _told()
    alone.step(0.5, MembershipChanged(names("n1"), quorate=False))
    assert only(UpgradeNode, alone.sees(1.0, (), ())) == []
    done = _told()
    done.row = node("n1", **_DRAINED, version=NEW, upgrade_to=NEW)
    assert only(UpgradeNode, done.sees(1.0, (), ())) == []


def test_a_refusal_is_said_in_the_nodes_health_until_nobody_asks_any_more() -> None:
    one = _told()
    one.sees(1.0, (), ())
    one.step(1.2, UpgradeAsked("apt: no such version"))
    assert one.state.health == "upgrade refused: apt: no such version"
    assert only(UpgradeNode, one.sees(100.0, (), ())) == [], "once is enough, until an operator says it again"
    one.row = node("n1", **_DRAINED, version=OLD)
    one.sees(102.0, (), ())
    assert one.state.health == "ok"
    one.row = node("n1", **_DRAINED, version=OLD, upgrade_to=NEW)
    assert only(UpgradeNode, one.sees(103.0, (), ())) == [UpgradeNode(NEW)], "asked anew, it is not waited for"


def test_how_the_database_is_is_reported_once() -> None:
    one = NodeAgent.quorate()
    assert only(Report, one.sees(1.0, (), ())) == [Report((), "ok")], "nobody has looked yet"
    one.step(1.1, Reported())
    one.step(1.2, HealthChecked((), "joining"))
    assert only(Report, one.sees(2.0, (), ())) == [Report((), "ok", "joining")]
    one.step(2.1, Reported())
    one.row = node("n1", database="joining")
    assert only(Report, one.sees(3.0, (), ())) == []


# -- whatever happens


def _applied(cluster: ClusterView, run: RollingRun, turn: Turn) -> tuple[ClusterView, RollingRun]:
    """What the services write for a turn, as far as it matters here; drained VMs arrive at once."""
    run = replace(run, turns=run.turns + 1, since=cluster.at)
    match turn.verb:
        case Verb.DRAIN:
            step = step_for(at_rest(cluster), turn.node)
            assert isinstance(step, RebootStep)
            moved = {m.vm_id: m.to for m in step.moves}
            vms = tuple(_placed(v, moved[v.id]) if v.id in moved else v for v in cluster.vms)
            left = tuple(n for n in run.pending if n != turn.node)
            run = replace(run, pending=left, node=turn.node, step=RunStep.DRAINING)
            return _with(replace(cluster, vms=vms), turn.node, **_DRAINED), run
        case Verb.UPGRADE:
            return _with(cluster, turn.node, upgrade_to=run.version), replace(run, step=RunStep.UPGRADING)
        case Verb.SETTLE:
            return _with(cluster, turn.node, upgrade_to=""), replace(run, step=RunStep.SETTLING)
        case Verb.RETURN:
            back = _with(cluster, turn.node, evacuating=False, maintenance=False)
            return back, replace(run, rebooted=(*run.rebooted, turn.node), node="")
        case Verb.STOP:
            return cluster, replace(run, state=RunState.STOPPED)
        case Verb.FINISH:
            return cluster, replace(run, state=RunState.DONE)
        case _:
            raise AssertionError(turn)


def _placed(one: Vm, where: str) -> Vm:
    return replace(one, node=where, observed=Observed(PowerSeen.RUNNING, one.generation, where))


_HAPPENS = st.sampled_from((
    "time", "time", "apt", "apt", "apt", "lost", "back", "incident", "closed", "joining", "synced", "sick", "well",
    "disarm", "arm",
))  # fmt: skip


def _happened(cluster: ClusterView, what: str, name: str) -> ClusterView:
    match what:
        case "time":
            assert cluster.at is not None
            return replace(cluster, at=cluster.at + timedelta(seconds=30))
        case "apt":
            todo = [n for n in cluster.nodes if n.upgrade_to]
            return _with(cluster, todo[0].name, version=todo[0].upgrade_to) if todo else cluster
        case "incident" | "closed":
            return replace(cluster, incidents=(incident(name),) if what == "incident" else ())
        case "disarm" | "arm":
            return replace(cluster, settings=replace(cluster.settings, armed=what == "arm"))
        case _:
            changes: dict[str, dict[str, Any]] = {
                "lost": {"state": NodeState.LOST}, "back": {"state": NodeState.ONLINE}, "sick": {"health": "pool"},
                "well": {"health": "ok"}, "joining": {"database": "joining"}, "synced": {"database": "synced"},
            }  # fmt: skip
            return _with(cluster, name, **changes[what])


def _lives_through(vms: int, story: list[tuple[str, str]]) -> RollingRun:
    """The run at the end; at each turn never more than one, never with VMs, never while another is not well."""
    cluster = _three(*(_up(i + 1, f"n{i % 3 + 1}") for i in range(vms)))
    run = _run(pending=("n2", "n3", "n1"))
    for what, name in story:
        cluster = _happened(cluster, what, name)
        turn = _next(cluster, run)
        if turn is None:
            continue
        others = [n for n in cluster.nodes if n.name != turn.node]
        if turn.verb in (Verb.DRAIN, Verb.UPGRADE):
            assert cluster.settings.armed
            assert cluster.incidents == ()
            assert all(n.state is NodeState.ONLINE and n.database_well and not _being_upgraded(n) for n in others)
        if turn.verb is Verb.UPGRADE:
            assert not [v for v in cluster.vms if v.node == turn.node]
        if turn.verb is Verb.RETURN:
            there = cluster.node(turn.node)
            assert there is not None
            assert (there.version, there.health, there.state) == (NEW, "ok", NodeState.ONLINE)
        cluster, run = _applied(cluster, run, turn)
        assert sum(map(_being_upgraded, cluster.nodes)) <= 1
        if run.state is RunState.DONE:
            assert {n.version for n in cluster.nodes} == {NEW}
    return run


@given(st.integers(0, 4), st.lists(st.tuples(_HAPPENS, st.sampled_from(("n1", "n2", "n3"))), max_size=60))
def test_whatever_happens_nothing_is_risked_for_it(vms: int, story: list[tuple[str, str]]) -> None:
    _lives_through(vms, story)


def test_where_nothing_happens_it_comes_to_its_end() -> None:
    done = _lives_through(4, [("time", "n1"), ("apt", "n1")] * 9)
    assert (done.state, done.rebooted) == (RunState.DONE, ("n2", "n3", "n1"))


def _being_upgraded(one: Node) -> bool:
    return one.evacuating or bool(one.upgrade_to)
