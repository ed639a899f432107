"""What a node without quorum does with each VM, and what becomes of those whose disks are on a node alone."""

from dataclasses import replace

import pytest

from app.domain.actions import DestroyVm, FeedWatchdog, PauseVm, Rejoin, ResumeVm, StartVm
from app.domain.cluster import IncidentPhase
from app.domain.events import VmWorkDone
from app.domain.policy import HaPolicy, QuorumLoss
from app.domain.recovery import plan_recovery, plan_waiting, unplaced_after
from app.domain.vm import Desired, PowerSeen, Status, Vm, status_of
from tests.domain.make import SEEN_OFF, fenced, incident, lost, node, seen, up, view, vm
from tests.domain.one_agent import NodeAgent, only, paused, running

KEEP, STOP = HaPolicy(on_quorum_loss=QuorumLoss.KEEP), HaPolicy(on_quorum_loss=QuorumLoss.STOP)
LOCAL = vm(1, ha=KEEP, local=True)


def _hosting(*vms: Vm) -> NodeAgent:
    one = NodeAgent.quorate()
    one.sees(1.0, tuple(running(v.id, v.generation) for v in vms), vms)
    return one


# -- without quorum


def test_stop_destroys_at_once_and_pause_pauses() -> None:
    one = _hosting(vm(1, ha=STOP), vm(2))
    actions = one.quorum(2.0, quorate=False)
    assert [d.vm_id for d in only(DestroyVm, actions)] == [1]
    assert [p.vm_id for p in only(PauseVm, actions)] == [2]


def test_a_local_vm_is_kept_beyond_the_deadline_and_the_watchdog_is_fed_once_the_others_are_gone() -> None:
    one = _hosting(LOCAL, vm(2))
    assert [p.vm_id for p in only(PauseVm, one.quorum(2.0, quorate=False))] == [2]
    assert not only(FeedWatchdog, one.ended(2.2, 2, "pause", running(1), paused(2))), "paused is not gone"
    deadline = 2.0 + one.settings.self_fence_seconds
    for tick in range(12, 35):
        one.runs(tick / 5, running(1), paused(2))
    assert [d.vm_id for d in only(DestroyVm, one.step(deadline))] == [2]
    one.ended(deadline + 0.1, 2, "destroy", running(1))
    for second in range(1, 60):
        actions = one.runs(deadline + second, running(1))
        assert only(FeedWatchdog, actions)
        assert not only(DestroyVm, actions)
        assert not only(PauseVm, actions)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [(replace(LOCAL, local=False), running(1)), (replace(LOCAL, ha=HaPolicy()), running(1)), (LOCAL, running(1, 2))],
    ids=["not local", "policy pause", "another generation"],
)
def test_what_is_not_surely_to_be_kept_is_not_kept(wanted: Vm, there: object) -> None:
    one = _hosting(wanted)
    one.runs(1.2, there)  # type: ignore[arg-type]
    one.state = replace(one.state, destroying=frozenset())
    assert only(PauseVm, one.quorum(2.0, quorate=False))
    one.step(2.1, VmWorkDone(1, 1, "pause"))
    assert not only(FeedWatchdog, one.runs(2.4, there))  # type: ignore[arg-type]


def test_an_agent_that_does_not_know_the_vm_pauses_it() -> None:
    one = NodeAgent()
    one.runs(0.2, running(1))
    assert only(PauseVm, one.step(3.1))


# -- cast out and back


def test_a_fenced_node_with_a_kept_vm_is_clean_and_with_any_other_copy_is_not() -> None:
    one = NodeAgent.quorate()
    one.row = fenced("n1")
    waiting = vm(2, local=True)
    actions = one.sees(1.0, (running(1), paused(2)), (LOCAL, waiting))
    assert [d.vm_id for d in only(DestroyVm, actions)] == [2], "it starts anew when the node is let in"
    assert not only(Rejoin, actions)
    assert not only(FeedWatchdog, actions)
    assert not only(ResumeVm, actions)
    actions = one.ended(1.4, 2, "destroy", running(1))
    assert only(Rejoin, actions)
    assert only(FeedWatchdog, actions)


def test_what_waited_for_its_node_starts_when_that_is_let_in() -> None:
    one = NodeAgent.quorate()
    one.row = fenced("n1")
    assert not only(StartVm, one.sees(1.0, (), (LOCAL,)))
    one.row = node("n1")
    assert only(StartVm, one.sees(2.0, (), (LOCAL,)))


# -- plans


def _lost_n1(*vms: Vm) -> object:
    return view([lost("n1"), node("n2")], list(vms), [incident("n1", IncidentPhase.PLANNING, proof=SEEN_OFF)])


def test_a_local_vm_is_left_with_its_node_and_says_why() -> None:
    off = vm(3, local=True, desired=Desired.STOPPED)
    plan = plan_recovery(_lost_n1(LOCAL, vm(2), off), "n1")  # type: ignore[arg-type]
    assert [a.vm_id for a in plan.assigned] == [2]
    assert [(s.vm_id, s.generation) for s in plan.stays] == [(1, 1)]
    assert "its disk is on n1 alone" in plan.stays[0].reason
    assert not plan.unplaced
    assert not plan.released


def test_a_local_vm_that_is_given_up_is_moved_nowhere() -> None:
    stuck = replace(LOCAL, observed=seen(PowerSeen.FAILED, LOCAL))
    assert plan_waiting(view([node("n1"), node("n2")], [stuck])).empty


def test_what_a_loss_would_strand_counts_no_local_vm() -> None:
    big = vm(2, memory_mib=5000)
    there = view([node("n1"), node("n2")], [replace(LOCAL, observed=up(LOCAL)), big])
    assert [v.id for v in unplaced_after(there, frozenset({"n1"}))] == [2]


def test_a_vm_that_waits_for_its_node_reads_unplaced() -> None:
    waits = replace(LOCAL, unplaced_reason="its disk is on n1 alone", observed=seen(PowerSeen.UNKNOWN, LOCAL))
    assert status_of(waits) is Status.UNPLACED
