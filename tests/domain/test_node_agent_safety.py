"""One node's agent and invariants 1 and 2: quorum, stale copies, the lease, the watchdog."""

from dataclasses import replace

import pytest

from app.domain.actions import DestroyVm, FeedWatchdog, PauseVm, Rejoin, Report, ResumeVm, SendSignal, StartVm
from app.domain.events import (
    DesiredLoaded,
    DomainFact,
    DomainsListed,
    HypervisorLost,
    Reported,
    SignalReceived,
    StoreLost,
    VmWorkDone,
    Written,
)
from app.domain.node import NodeState
from app.domain.vm import Desired, PowerSeen, Vm
from tests.domain.make import fenced, lost, node, seen, vm
from tests.domain.one_agent import NodeAgent, off, only, paused, running

LEASE = NodeAgent().settings.lease_seconds
SELF_FENCE = NodeAgent().settings.self_fence_seconds


def _hosting(*vms: Vm) -> NodeAgent:
    """Quorate; runs these VMs, as it should, since second 1."""
    one = NodeAgent.quorate()
    one.sees(1.0, tuple(running(v.id, v.generation) for v in vms), vms)
    return one


# -- without quorum


def test_all_vms_are_paused_at_once_when_quorum_is_lost() -> None:
    one = _hosting(vm(1), vm(2, generation=7))
    assert only(PauseVm, one.quorum(2.0, quorate=False)) == [PauseVm(1, 1), PauseVm(2, 7)]
    assert not only(PauseVm, one.step(2.2)), "asked for already"


def test_what_is_not_down_by_the_deadline_is_destroyed_paused_or_not() -> None:
    one = _hosting(vm(1), vm(2))
    one.quorum(2.0, quorate=False)
    one.runs(2.2, paused(1), running(2))
    now = 2.2
    while now + 0.4 < 2.0 + SELF_FENCE:
        now += 0.4
        assert not only(DestroyVm, one.step(now)), now
    assert {d.vm_id for d in only(DestroyVm, one.step(2.0 + SELF_FENCE))} == {1, 2}


def test_quorum_back_in_time_resumes_but_only_on_a_reading_from_after_it() -> None:
    one = _hosting(vm(1))
    one.quorum(2.0, quorate=False)
    one.ended(2.2, 1, "pause", paused(1))
    assert not only(ResumeVm, one.quorum(4.0)), "what was read before says nothing"
    one.step(4.1, DesiredLoaded(one.row, (vm(1),), asked_at=1.9))
    assert not only(ResumeVm, one.runs(4.2, paused(1)))
    assert only(ResumeVm, one.wants(4.4, vm(1))) == [ResumeVm(1, 1, 4.4 + LEASE)]


def test_vms_that_moved_while_quorum_was_away_are_destroyed_and_not_resumed() -> None:
    one = _hosting(vm(1), vm(2))
    one.quorum(2.0, quorate=False)
    one.runs(2.2, paused(1), paused(2))
    one.quorum(4.0)
    actions = one.sees(4.2, (paused(1), paused(2)), (vm(2, generation=2),))
    assert {(d.vm_id, d.generation) for d in only(DestroyVm, actions)} == {(1, 1), (2, 1)}
    assert not only(ResumeVm, actions)


def test_a_started_agent_gives_corosync_a_moment_then_silence_is_no_quorum() -> None:
    one = NodeAgent()
    one.runs(0.2, running(1))
    for now in (1.0, 2.0, 2.9):
        assert not only(PauseVm, one.step(now))
    assert only(PauseVm, one.step(3.1))


def test_nothing_is_started_without_quorum() -> None:
    one = _hosting()
    one.quorum(2.0, quorate=False)
    assert not only(StartVm, one.sees(2.2, (), (vm(1),)))


# -- stale copies


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (running(1, 1), "stale, generation 2 is the valid one"),
        (paused(1, 1), "stale, generation 2 is the valid one"),
        (off(1, 1), "stale, generation 2 is the valid one"),
        (running(9, 1), "not assigned to this node"),
    ],
    ids=["running", "paused", "off", "a VM of another node"],
)
def test_a_copy_that_the_database_does_not_want_here_is_destroyed_first(there: DomainFact, why: str) -> None:
    one = NodeAgent.quorate()
    actions = one.sees(1.0, (there,), (vm(1, generation=2),))
    assert only(DestroyVm, actions) == [DestroyVm(there.vm_id, there.generation, why)]
    if there.vm_id == 1:
        assert not only(StartVm, actions), "first the old copy goes"


def test_a_destroy_that_failed_is_tried_again() -> None:
    one = NodeAgent.quorate()
    assert only(DestroyVm, one.sees(1.0, (running(1),), ()))
    one.step(1.2, VmWorkDone(1, 1, "destroy", "device busy"))
    assert not only(DestroyVm, one.sees(1.4, (running(1),), ()))
    assert only(DestroyVm, one.sees(2.4, (running(1),), ()))


# -- who may host: ONLINE, and sure of it by a young reading


@pytest.mark.parametrize("row", [None, lost("n1"), fenced("n1")], ids=["unknown", "lost", "fenced"])
def test_a_node_that_is_not_online_in_the_database_starts_and_resumes_nothing(row: object) -> None:
    one = NodeAgent.quorate()
    one.row = row  # type: ignore[assignment]
    actions = one.sees(1.0, (paused(2),), (vm(1), vm(2)))
    assert not only(StartVm, actions)
    assert not only(ResumeVm, actions)


def test_an_order_to_start_carries_the_end_of_its_lease() -> None:
    one = NodeAgent.quorate()
    assert only(StartVm, one.sees(1.0, (), (vm(1),))) == [StartVm(vm(1), 1.0 + LEASE)]


def test_a_reading_that_has_become_old_starts_nothing() -> None:
    one = NodeAgent.quorate()
    one.wants(1.0, vm(1))
    for now in (2.0, 3.0, 4.0, 5.0):
        one.step(now, StoreLost("desired", "gone"))
    assert not only(StartVm, one.runs(1.0 + LEASE + 0.1))
    fresh = NodeAgent.quorate()
    fresh.wants(1.0, vm(1))
    assert only(StartVm, fresh.runs(2.0)), "a young one does"


def test_what_was_listed_before_work_on_a_vm_ended_starts_it_not_again() -> None:
    one = NodeAgent.quorate()
    one.sees(1.0, (), (vm(1),))
    one.step(1.1)
    one.step(1.5, VmWorkDone(1, 1, "start"))
    assert not only(StartVm, one.wants(1.6, vm(1))), "the list is from before the start"
    assert not only(StartVm, one.runs(1.8, running(1)))


# -- given up


def _given_up() -> tuple[NodeAgent, Vm, float]:
    """Three starts failed; the report that says FAILED is written and read back."""
    one, now = NodeAgent.quorate(), 1.0
    one.sees(now, (), (vm(1),))
    for _ in range(one.settings.start_tries_max):
        one.step(now + 0.1, VmWorkDone(1, 1, "start", "no such image"))
        now += 0.2
        while not only(StartVm, one.sees(now, (), (vm(1),))):
            now += 0.5
            if one.state.trouble[1].failures >= one.settings.start_tries_max:
                break
    failed = replace(vm(1), observed=seen(PowerSeen.FAILED, vm(1), error="no such image"))
    return one, failed, now


def test_a_vm_that_was_given_up_is_not_started_until_that_is_taken_back() -> None:
    one, failed, now = _given_up()
    while now < 60:
        now += 1.0
        assert not only(StartVm, one.sees(now, (), (failed,))), now
    taken_back = replace(failed, observed=seen(PowerSeen.STARTING, failed, error="no such image"))
    one.state = replace(one.state, reporting=False, report_ended_at=now)
    assert only(StartVm, one.sees(now + 1.0, (), (taken_back,)))


def test_a_restarted_agent_keeps_the_promise_of_the_one_before_it_until_it_is_taken_back() -> None:
    failed = replace(vm(1), observed=seen(PowerSeen.FAILED, vm(1)))
    one = NodeAgent.quorate()
    actions = one.sees(1.0, (), (failed,))
    assert not only(StartVm, actions)
    (report,) = only(Report, actions)
    assert report.seen[0].power is PowerSeen.OFF
    one.step(1.2, Reported())
    assert only(StartVm, one.sees(1.4, (), (replace(failed, observed=seen(PowerSeen.OFF, failed)),)))


# -- the watchdog


def test_it_is_fed_in_every_round_while_quorate() -> None:
    one = _hosting(vm(1))
    for tick in range(6, 50):
        assert only(FeedWatchdog, one.step(tick / 5))


def test_the_feed_is_the_last_thing_in_a_round() -> None:
    one = NodeAgent.quorate()
    actions = one.sees(1.0, (running(9),), (vm(1),))
    assert isinstance(actions[-1], FeedWatchdog)
    assert len(actions) > 2


def test_without_quorum_it_is_fed_only_when_a_new_list_shows_that_nothing_runs() -> None:
    one = _hosting(vm(1))
    assert not only(FeedWatchdog, one.quorum(2.0, quorate=False))
    assert not only(FeedWatchdog, one.runs(2.2, paused(1))), "paused is not gone"
    one.step(2.3, VmWorkDone(1, 1, "pause"))
    assert not only(FeedWatchdog, one.step(2.4))
    assert only(FeedWatchdog, one.runs(2.6, off(1)))


@pytest.mark.parametrize("work", ["start", "destroy"])
def test_without_quorum_it_is_not_fed_while_work_is_in_flight(work: str) -> None:
    one = NodeAgent.quorate()
    there = () if work == "start" else (running(1),)
    one.sees(1.0, there, (vm(1),) if work == "start" else ())
    one.quorum(1.2, quorate=False)
    assert not only(FeedWatchdog, one.runs(1.4)), "the list may be from just before it took effect"
    one.step(1.6, VmWorkDone(1, 1, work))
    assert only(FeedWatchdog, one.runs(1.8))


def test_without_quorum_and_without_libvirt_it_is_not_fed() -> None:
    one = _hosting()
    one.quorum(2.0, quorate=False)
    assert not only(FeedWatchdog, one.step(2.2, HypervisorLost("gone")))


def test_a_database_that_is_gone_stops_neither_the_vms_nor_the_watchdog() -> None:
    one = _hosting(vm(1))
    for second in range(2, 120):
        actions = one.step(float(second), StoreLost("desired", "gone"))
        assert only(FeedWatchdog, actions)
        assert not only(PauseVm, actions)
        assert not only(DestroyVm, actions)


def test_a_node_that_was_cast_out_feeds_only_once_it_runs_nothing() -> None:
    one = NodeAgent.quorate()
    one.row = fenced("n1")
    assert not only(FeedWatchdog, one.sees(1.0, (running(1),), ()))
    assert only(FeedWatchdog, one.ended(1.4, 1, "destroy"))


def test_after_standing_still_it_is_not_fed_until_corosync_had_time_to_speak() -> None:
    one = _hosting(vm(1))
    still, settle = one.settings.pause_seconds_max, one.settings.pause_settle_seconds
    assert only(FeedWatchdog, one.step(1.0 + still)), "shorter pauses go unnoticed by all"
    one.step(20.0)
    fed = [tick / 5 for tick in range(101, 120) if only(FeedWatchdog, one.step(tick / 5))]
    assert fed[0] >= 20.0 + settle
    assert fed[0] < 20.4 + settle


def test_after_standing_still_nothing_is_started_on_what_was_read_before() -> None:
    one = NodeAgent.quorate()
    one.wants(1.0, vm(1))
    one.step(3.5)
    assert not only(StartVm, one.runs(3.6))
    assert only(StartVm, one.wants(3.8, vm(1)))


# -- a Corosync that hangs says nothing when the others go on without us


def test_it_sends_itself_a_signal_every_second_and_at_once_when_the_membership_changes() -> None:
    one = NodeAgent()
    assert only(SendSignal, one.quorum(0.0)) == [SendSignal("here", epoch=0)]
    sent = [tick / 5 for tick in range(1, 26) if only(SendSignal, one.step(tick / 5))]
    assert sent == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert only(SendSignal, one.quorum(5.2)) == [SendSignal("here", epoch=5200)]


def test_once_its_signal_comes_round_no_more_it_feeds_and_starts_nothing() -> None:
    one = _hosting(vm(1))
    one.ring_turns = False  # the last one that came round was sent at second 1
    silence = one.settings.ring_silence_seconds
    assert only(FeedWatchdog, one.step(1.0 + silence))
    for tick in range(16, 60):
        assert not only(FeedWatchdog, one.step(tick / 5))
    assert not only(StartVm, one.sees(12.0, (running(1),), (vm(1), vm(2))))
    one.ring_turns = True
    assert only(FeedWatchdog, one.step(12.2))


def test_a_signal_that_comes_round_late_shows_no_more_than_when_it_was_sent() -> None:
    one = _hosting(vm(1))
    one.ring_turns = False
    one.step(3.0)
    assert not only(FeedWatchdog, one.step(4.0, SignalReceived("n1", "here", epoch=1900)))
    assert only(FeedWatchdog, one.step(4.2, SignalReceived("n1", "here", epoch=2300)))


@pytest.mark.parametrize(("sender", "kind"), [("n2", "here"), ("n1", "look"), ("n2", "lead")])
def test_no_other_signal_counts(sender: str, kind: str) -> None:
    one = _hosting(vm(1))
    one.ring_turns = False
    one.step(3.0)
    assert not only(FeedWatchdog, one.step(3.2, SignalReceived(sender, kind, epoch=3100)))


def test_with_nothing_running_it_is_fed_although_the_ring_is_silent() -> None:
    one = _hosting()
    one.ring_turns = False
    one.step(3.0)
    assert only(FeedWatchdog, one.runs(4.0))


# -- coming back


def test_a_fenced_node_asks_to_host_again_only_when_it_has_forgotten_everything() -> None:
    one = NodeAgent.quorate()
    one.row = fenced("n1")
    assert not only(Rejoin, one.sees(1.0, (running(1),), ()))
    assert not only(Rejoin, one.ended(1.4, 1, "destroy", off(2))), "a definition is still there"
    assert only(Rejoin, one.ended(1.6, 2, "destroy"))
    assert not only(Rejoin, one.step(2.0)), "asked already"
    one.step(2.2, StoreLost("rejoin", "VMs are still assigned to it"))
    assert only(Rejoin, one.sees(3.0, (), ()))


def test_a_fenced_node_whose_destroy_failed_does_not_ask() -> None:
    one = NodeAgent.quorate()
    one.row = fenced("n1")
    one.sees(1.0, (running(1),), ())
    one.state = replace(one.state, listing=True, listing_at=1.2)
    actions = one.step(1.2, VmWorkDone(1, 1, "destroy", "device busy"), DomainsListed((running(1),)))
    assert not only(Rejoin, actions)
    assert not only(FeedWatchdog, actions)


def test_it_hosts_again_when_the_database_says_online() -> None:
    one = NodeAgent.quorate()
    one.row = fenced("n1")
    one.sees(1.0, (), ())
    one.step(1.2, Written("rejoin"))
    one.row = node("n1", state=NodeState.ONLINE)
    assert only(StartVm, one.sees(1.4, (), (vm(1),)))


@pytest.mark.parametrize("row", [node("n1"), lost("n1")], ids=["online", "lost"])
def test_only_a_fenced_node_asks(row: object) -> None:
    one = NodeAgent.quorate()
    one.row = row  # type: ignore[assignment]
    assert not only(Rejoin, one.sees(1.0, (), ()))


def test_a_deleted_vm_is_not_started() -> None:
    one = NodeAgent.quorate()
    assert not only(StartVm, one.sees(1.0, (), (vm(1, desired=Desired.DELETED),)))
