"""One node's agent at its daily work: what is wanted against what is there, retries, and what it reports."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from app.domain.actions import (
    Action,
    DestroyVm,
    ListDomains,
    LoadDesired,
    RemoveVm,
    Report,
    ResetVm,
    ResumeVm,
    StartVm,
    StopVm,
    VmSeen,
)
from app.domain.events import (
    DomainFact,
    DomainsListed,
    HealthChecked,
    HypervisorLost,
    Reported,
    SignalReceived,
    StoreLost,
    VmWorkDone,
)
from app.domain.vm import Desired, PowerSeen, StopMode, Vm
from tests.domain.make import WHEN, seen, up, vm
from tests.domain.one_agent import NodeAgent, off, only, paused, running

UP = vm(1)
STOP_ACPI = vm(1, desired=Desired.STOPPED, stop_mode=StopMode.ACPI)
STOP_HARD = vm(1, desired=Desired.STOPPED, stop_mode=StopMode.HARD)
SUSPENDED = vm(1, locked=True, stop_mode=StopMode.ACPI)
DELETED = vm(1, desired=Desired.DELETED)
RESET = vm(1, resets_wanted=1, reset_mode=StopMode.HARD, observed=seen(PowerSeen.RUNNING, vm(1), verified_at=WHEN))
RESET_BY_GUEST = replace(RESET, reset_mode=StopMode.ACPI)

#: what is wanted, what is there -> what is done
TABLE: list[tuple[str, Vm, tuple[DomainFact, ...], str]] = [
    ("wanted, not there", UP, (), "StartVm"),
    ("wanted, crashed: told first", UP, (off(1, ended="crashed"),), ""),
    ("wanted, runs", UP, (running(1),), ""),
    ("wanted, paused", UP, (paused(1),), "ResumeVm"),
    ("wanted, its guest switched it off", UP, (off(1, ended="shutdown"),), ""),
    ("asked to shut down, runs", STOP_ACPI, (running(1),), "StopVm"),
    ("asked to shut down, paused: its guest cannot hear", STOP_ACPI, (paused(1),), "DestroyVm"),
    ("asked to shut down, off", STOP_ACPI, (off(1),), "DestroyVm"),
    ("powered off, runs", STOP_HARD, (running(1),), "DestroyVm"),
    ("powered off, not there", STOP_HARD, (), ""),
    ("suspended, runs: its guest is not asked", SUSPENDED, (running(1),), "DestroyVm"),
    ("suspended, not there", SUSPENDED, (), ""),
    ("deleted, runs", DELETED, (running(1),), "RemoveVm"),
    ("deleted, not there", DELETED, (), "RemoveVm"),
    ("reset wanted, runs", RESET, (running(1),), "ResetVm"),
    ("reboot wanted, runs", RESET_BY_GUEST, (running(1),), "ResetVm"),
]
_WORK = (StartVm, ResumeVm, StopVm, DestroyVm, RemoveVm, ResetVm)


def _work(actions: tuple[Action, ...]) -> str:
    return " ".join(type(a).__name__ for a in actions if isinstance(a, _WORK))


@pytest.mark.parametrize(("wanted", "there", "done"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_the_gap_is_closed(wanted: Vm, there: tuple[DomainFact, ...], done: str) -> None:
    one = NodeAgent.quorate()
    assert _work(one.sees(1.0, there, (wanted,))) == done
    assert _work(one.step(1.2)) == "", "once is enough"


# -- starts


def test_the_most_important_start_first_and_only_a_few_at_a_time() -> None:
    one = NodeAgent.quorate(starts_max=2)
    vms = (vm(1), vm(2, priority=90), vm(3, priority=90))
    assert [s.vm.id for s in only(StartVm, one.sees(1.0, (), vms))] == [2, 3]
    assert not only(StartVm, one.step(1.2))
    assert [s.vm.id for s in only(StartVm, one.ended(1.4, 2, "start", running(2)))] == [1]


def test_a_start_that_failed_is_tried_again_after_a_pause_that_doubles() -> None:
    one = NodeAgent.quorate(start_tries_max=100)
    one.sees(1.0, (), (UP,))
    pauses, now = [], 1.0
    for _ in range(7):
        one.step(now, VmWorkDone(1, 1, "start", "no such image"))
        failed_at = now
        while not only(StartVm, one.sees(now, (), (UP,))):
            now += 0.5
        pauses.append(now - failed_at)
    assert pauses == [2, 4, 8, 16, 32, 32, 32]


def test_a_new_placement_forgets_the_failures_of_the_old_one() -> None:
    one = NodeAgent.quorate()
    one.sees(1.0, (), (UP,))
    one.step(1.2, VmWorkDone(1, 1, "start", "no such image"))
    assert not only(StartVm, one.sees(2.4, (), (UP,)))
    assert only(StartVm, one.sees(2.6, (), (replace(UP, generation=2),)))


# -- stops


def test_the_power_button_is_pressed_again_only_after_a_while() -> None:
    one = NodeAgent.quorate()
    presses = []
    for tick in range(5, 150):
        now = tick / 5
        if only(StopVm, one.sees(now, (running(1),), (STOP_ACPI,))):
            presses.append(now)
            one.step(now + 0.1, VmWorkDone(1, 1, "stop"))
    assert len(presses) == 3
    assert all(9.9 < b - a < 10.4 for a, b in pairwise(presses))


def test_a_guest_that_goes_off_because_we_asked_is_started_again_when_it_is_wanted_again() -> None:
    one = NodeAgent.quorate()
    one.sees(1.0, (running(1),), (STOP_ACPI,))
    one.step(1.2, VmWorkDone(1, 1, "stop"))
    assert only(StartVm, one.sees(1.4, (off(1, ended="shutdown"),), (UP,)))


# -- resets


def test_a_reset_is_done_once() -> None:
    one = NodeAgent.quorate()
    assert only(ResetVm, one.sees(1.0, (running(1),), (RESET,))) == [ResetVm(1, 1, StopMode.HARD)]
    one.step(1.2, VmWorkDone(1, 1, "reset"))
    assert not only(ResetVm, one.sees(1.4, (running(1),), (RESET,)))


def test_a_restarted_agent_does_not_repeat_a_reset_that_was_reported() -> None:
    one = NodeAgent.quorate()
    done = replace(RESET, observed=replace(RESET.observed, resets_done=1))
    assert not only(ResetVm, one.sees(1.0, (running(1),), (done,)))


# -- looking


def test_a_signal_makes_it_read_at_once() -> None:
    one = NodeAgent.quorate()
    one.sees(1.0, (), ())
    assert not only(LoadDesired, one.step(1.2))
    assert only(LoadDesired, one.step(1.4, SignalReceived("n2", "look")))


def test_a_lost_signal_costs_one_interval() -> None:
    one = NodeAgent.quorate()
    one.sees(0.2, (), ())
    reads = [tick / 5 for tick in range(2, 12) if only(LoadDesired, one.step(tick / 5))]
    assert reads
    assert reads[0] <= one.settings.desired_interval_seconds


def test_a_database_that_does_not_answer_is_asked_again_after_a_pause() -> None:
    one = NodeAgent.quorate()
    assert not only(LoadDesired, one.step(0.2, StoreLost("desired", "gone")))
    one.state = replace(one.state, desired_wanted=True)
    assert not only(LoadDesired, one.step(0.4))
    assert only(LoadDesired, one.step(0.2 + one.settings.store_retry_seconds))


@pytest.mark.parametrize(
    ("took", "quorate", "pause"), [(0.25, True, 1.0), (1.0, True, 2.0), (1.0, False, 0.0)], ids=str
)
def test_a_slow_libvirt_is_left_alone_for_a_while(took: float, quorate: bool, pause: float) -> None:
    """For four times as long as it took to list, 2 s at most, though a VM starts. Without quorum it is urgent."""
    agent = NodeAgent.quorate()
    agent.wants(0.5, vm(1))
    agent.quorum(1.0, quorate=quorate)
    agent.state = replace(agent.state, listing=True, listing_at=1.0, domains_wanted=False, domains_due_at=1.2)
    asked = only(ListDomains, agent.step(1 + took, DomainsListed((running(1, alive=False),))))
    later = 1 + took
    while not asked:
        later += 0.25
        asked = only(ListDomains, agent.step(later))
    assert later - 1 - took == pause


def test_libvirt_gone_does_nothing_to_the_vms_and_is_said() -> None:
    one = NodeAgent.quorate()
    one.sees(1.0, (running(1),), (replace(UP, observed=up(UP)),))
    one.step(1.1, Reported())
    one.step(1.2, HypervisorLost("connection refused"))
    actions = one.wants(1.4, replace(UP, observed=up(UP)))
    assert _work(actions) == ""
    assert only(Report, actions) == [Report((), "libvirt")]


# -- reports


def _reported(wanted: Vm, *there: DomainFact) -> VmSeen | None:
    one = NodeAgent.quorate()
    (report,) = only(Report, one.sees(1.0, there, (wanted,)))
    return report.seen[0] if report.seen else None


SEEN: list[tuple[str, Vm, tuple[DomainFact, ...], dict[str, Any] | None]] = [
    ("runs, alive", UP, (running(1),), {"power": PowerSeen.RUNNING, "verified": True}),
    ("runs, its guest not yet", UP, (running(1, alive=False),), {"power": PowerSeen.RUNNING, "verified": False}),
    ("being started", UP, (), {"power": PowerSeen.STARTING}),
    ("off by its guest", UP, (off(1, ended="shutdown"),), {"power": PowerSeen.OFF, "ended": "shutdown"}),
    ("off as wanted", STOP_HARD, (), {"power": PowerSeen.OFF, "ended": ""}),
    ("known already", replace(UP, observed=up(UP)), (running(1),), None),
    ("known of the placement before", replace(UP, generation=2, observed=up(UP)), (running(1, 2),), {"verified": True}),
    ("a stale copy runs", replace(UP, generation=2), (running(1, 1),), None),
]


@pytest.mark.parametrize(("wanted", "there", "facts"), [s[1:] for s in SEEN], ids=[s[0] for s in SEEN])
def test_what_is_reported(wanted: Vm, there: tuple[DomainFact, ...], facts: dict[str, Any] | None) -> None:
    told = _reported(wanted, *there)
    if facts is None:
        assert told is None
        return
    assert told is not None
    assert {k: getattr(told, k) for k in facts} == facts
    assert told.generation == wanted.generation


def test_a_failed_start_is_reported_with_its_error_and_as_given_up_after_the_last_try() -> None:
    one, now, told = NodeAgent.quorate(), 1.0, []
    one.sees(now, (), (UP,))
    for _ in range(3):
        one.step(now + 0.1, VmWorkDone(1, 1, "start", "no such image"))
        one.step(now + 0.2, Reported())
        told += only(Report, one.sees(now + 0.3, (), (UP,)))
        one.state = replace(one.state, trouble={1: replace(one.state.trouble[1], retry_at=now + 1.0)})
        one.step(now + 0.4, Reported())
        now += 1.0
        one.sees(now + 0.05, (), (UP,))
    powers = [(r.seen[0].power, r.seen[0].error) for r in told]
    failed, starting = PowerSeen.FAILED, PowerSeen.STARTING
    assert powers == [(p, "no such image") for p in (starting, starting, failed)]


def test_the_first_report_is_made_even_when_there_is_nothing_to_say_and_then_no_more() -> None:
    one = NodeAgent.quorate()
    assert only(Report, one.sees(1.0, (), ())) == [Report((), "ok")]
    one.step(1.2, Reported())
    assert not only(Report, one.sees(1.4, (), ()))
    assert only(Report, one.step(1.6, HealthChecked(("disk full",)))) == [Report((), "disk full")]


def test_a_report_that_was_lost_is_made_again() -> None:
    one = NodeAgent.quorate()
    assert only(Report, one.sees(1.0, (running(1),), (UP,)))
    assert not only(Report, one.sees(1.2, (running(1),), (UP,))), "one at a time"
    one.step(1.4, StoreLost("report", "gone"))
    assert only(Report, one.sees(2.0, (running(1),), (UP,)))


def test_what_is_seen_of_a_vm_under_destruction_is_not_reported() -> None:
    one = NodeAgent.quorate()
    actions = one.sees(1.0, (running(1),), (STOP_HARD,))
    assert only(DestroyVm, actions)
    (report,) = only(Report, actions)
    assert report.seen == ()
