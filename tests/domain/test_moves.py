"""Which migrations are begun, and what is said about the others."""

from dataclasses import replace
from typing import Any

from app.domain.cluster import ClusterView, IncidentPhase
from app.domain.cluster_settings import ClusterSettings
from app.domain.migration import TRIES_MAX, Migration
from app.domain.moves import Begin, MovePlan, plan_moves, why_not_there
from app.domain.node import Node
from app.domain.policy import HaPolicy, QuorumLoss
from app.domain.vm import Vm
from tests.domain.make import incident, lost, node, spare, up, view, vm, witness


def _up(vm_id: int, where: str = "n1", **other: Any) -> Vm:
    one = vm(vm_id, where, **other)
    return replace(one, observed=up(one))


def _drained(name: str = "n1", **other: Any) -> Node:
    return node(name, evacuating=True, maintenance=True, **other)


def _plan(nodes: list[Node], vms: list[Vm], *, total: int = 9, per_node: int = 9, **other: Any) -> MovePlan:
    settings = ClusterSettings(migrations_max=total, migrations_per_node_max=per_node, **other.pop("settings", {}))
    return plan_moves(replace(view(nodes, vms, other.pop("incidents", None)), settings=settings), **other)


def _where(plan: MovePlan) -> dict[int, str]:
    return {b.vm_id: b.to for b in plan.begin}


def _reason(plan: MovePlan, vm_id: int) -> str:
    return next(b.reason for b in plan.blocked if b.vm_id == vm_id)


def test_a_drained_nodes_vms_go_to_the_others_in_new_generations() -> None:
    plan = _plan([_drained(), node("n2"), node("n3")], [_up(1), _up(2), _up(3, "n2")])
    assert sorted(_where(plan).values()) == ["n2", "n3"]
    assert {(b.generation, b.passenger) for b in plan.begin} == {(1, 2)}
    assert plan.blocked == ()


def test_a_generation_of_a_failed_try_is_not_taken_again() -> None:
    failed = replace(_up(1), migration=Migration(generation=7, tries=1, error="broke"))
    (begun,) = _plan([_drained(), node("n2")], [failed]).begin
    assert begun.passenger == 8


def test_important_vms_go_first_and_the_caps_hold_at_both_ends() -> None:
    nodes = [_drained(), node("n2"), node("n3")]
    vms = [_up(1), _up(2, priority=90), _up(3)]
    assert list(_where(_plan(nodes, vms, total=1))) == [2]
    plan = _plan(nodes, vms, total=3, per_node=1)
    assert list(_where(plan)) == [2]
    assert "n1 has 1 migrations, 1 are allowed per node" in _reason(plan, 1)
    moving = replace(_up(4, "n3"), migrating_to="n2", migration=Migration(2))
    assert "waits: 1 migrations are under way" in _reason(_plan(nodes, [*vms, moving], total=1), 1)
    (begun,) = _plan(nodes, [_up(1), replace(moving, node="n4")], per_node=1).begin
    assert begun.to == "n3", "n2 is busy with another one"


def test_memory_is_promised_at_both_ends() -> None:
    nodes = [_drained(), node("n2", memory_mib=1024)]
    big = [_up(i, memory_mib=1024) for i in (1, 2)]
    plan = _plan(nodes, big)
    assert list(_where(plan)) == [1]
    assert "has 0 MiB of memory free" in _reason(plan, 2)
    moving = replace(big[0], migrating_to="n2", migration=Migration(2))
    assert "has 0 MiB of memory free" in _reason(_plan(nodes, [moving, big[1]]), 2)


def test_no_spare_no_witness_and_no_node_in_maintenance_takes_a_drained_vm() -> None:
    nodes = [_drained(), spare("n2"), witness("n3"), node("n4", maintenance=True), _drained("n5")]
    plan = _plan(nodes, [_up(1)])
    assert plan.begin == ()
    for words in ("n2: is a spare", "n3: is a witness", "n4: is in maintenance"):
        assert words in _reason(plan, 1)
    assert plan.blocked[0].stuck


def test_what_is_off_is_not_asked_to_move() -> None:
    off = vm(1, desired=vm(1).desired.__class__("stopped"))
    assert _plan([_drained(), node("n2")], [off]) == MovePlan()


def test_what_does_not_run_yet_waits_and_local_volumes_stay() -> None:
    local = replace(_up(2), ha=HaPolicy(on_quorum_loss=QuorumLoss.KEEP))
    plan = _plan([_drained(), node("n2")], [vm(1), local])
    assert plan.begin == ()
    assert _reason(plan, 1) == "waits until it runs (it is being started)"
    assert "on this node alone" in _reason(plan, 2)


def test_after_some_tries_it_is_stuck_until_an_operator_says_so() -> None:
    tired = replace(_up(1), migration=Migration(tries=TRIES_MAX, error="no progress for 60 s"))
    plan = _plan([_drained(), node("n2")], [tired])
    assert plan.begin == ()
    assert plan.blocked[0].stuck
    assert "the last because: no progress for 60 s" in _reason(plan, 1)


def test_a_recovery_comes_first_and_a_disarmed_cluster_moves_nothing() -> None:
    nodes, vms = [_drained(), node("n2"), lost("n3")], [_up(1)]
    early = _plan(nodes, vms, incidents=[incident("n3", IncidentPhase.FENCING)])
    assert "its recovery comes first" in _reason(early, 1)
    starting = [*vms, vm(2, "n2", incident_id=1)]
    late = _plan(nodes, starting, incidents=[incident("n3", IncidentPhase.STARTING)])
    assert "are being started" in _reason(late, 1)
    assert "disarmed" in _reason(_plan(nodes, vms, settings={"armed": False}), 1)


def test_an_operators_wish_names_the_node_or_not() -> None:
    nodes = [node("n1"), node("n2"), node("n3")]
    named = replace(_up(1), migration=Migration(wanted_to="n3"))
    anywhere = replace(_up(2), migration=Migration(wanted_to=""))
    assert _where(_plan(nodes, [named, anywhere])) == {1: "n3", 2: "n2"}
    here = view(nodes, [named])
    assert why_not_there(here, named, "n3") == ""
    assert why_not_there(here, named, "n1") == "it is there already"
    assert why_not_there(here, named, "n9") == "there is no node 'n9'"
    full = view([node("n1"), node("n3", memory_mib=100)], [named])
    assert "has 100 MiB" in why_not_there(full, named, "n3")


def test_a_migration_to_a_node_that_is_lost_or_drained_is_cancelled_once() -> None:
    moving = replace(_up(1), migrating_to="n2", migration=Migration(2))
    for target, why in ((lost("n2"), "n2 is lost"), (_drained("n2"), "n2 is being drained itself")):
        (cancel,) = _plan([node("n1"), target], [moving]).cancel
        assert (cancel.vm_id, cancel.passenger, cancel.why) == (1, 2, why)
        said = replace(moving, migration=Migration(2, cancel=why))
        assert _plan([node("n1"), target], [said]).cancel == ()


def test_wishes_for_an_even_load_come_last_and_obey_the_caps() -> None:
    nodes = [_drained(), node("n2"), node("n3")]
    vms = [_up(1), _up(2, "n2")]
    wish = Begin(2, 1, 2, "n3", "for an even load")
    assert [b.vm_id for b in _plan(nodes, vms, wishes=(wish,)).begin] == [1, 2]
    assert [b.vm_id for b in _plan(nodes, vms, wishes=(wish,), total=1).begin] == [1]


def test_an_empty_cluster_asks_for_nothing() -> None:
    assert plan_moves(ClusterView((), ())) == MovePlan()
