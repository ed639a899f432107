"""VMs that end by themselves: told once, restarted more and more slowly, moved once, never given up."""

from dataclasses import replace
from itertools import pairwise

import pytest

from app.domain.actions import Action, DestroyVm, Report, ResumeVm, StartVm, VmSeen
from app.domain.events import DomainFact, DomainState, HealthChecked, Reported, VmWorkDone
from app.domain.policy import RESTARTS_IN_PLACE, AfterEnd, AfterIoError, End, HaPolicy
from app.domain.vm import Observed, PowerSeen, Vm
from tests.domain.make import WHEN, up, vm
from tests.domain.one_agent import NodeAgent, off, only, paused, running

CRASHED = off(1, ended="crashed")
PANICKED = DomainFact(1, 1, DomainState.PANICKED)
BY_WATCHDOG = replace(paused(1), paused_by="watchdog")
BY_DISK = replace(paused(1), paused_by="io-error")
SILENT = replace(running(1), silent_seconds=30.0)


def _vm(**ha: object) -> Vm:
    one = vm(1, ha=HaPolicy(**ha))  # type: ignore[arg-type]
    return replace(one, observed=up(one))


def _seen(one: Vm, told: VmSeen) -> Vm:
    """Its row after the report."""
    seen = Observed(
        told.power, 1, "n1", WHEN if told.verified else None, told.error, told.resets_done,
        told.ended, told.ends, told.ends_in_a_row,
    )  # fmt: skip
    return replace(one, observed=seen)


class Life:
    """One agent and one VM, whose row takes in each report at once."""

    def __init__(self, wanted: Vm) -> None:
        self.agent, self.vm, self.now = NodeAgent.quorate(), wanted, 1.0
        self.told: list[VmSeen] = []

    def sees(self, *domains: DomainFact, after: float = 0.2) -> tuple[Action, ...]:
        """A list and a reading; a report is written and read back, and what follows is done."""
        self.now += after
        actions = self.agent.sees(self.now, domains, (self.vm,))
        for _ in range(3):
            reports = only(Report, actions)
            if not reports:
                break
            for told in reports[0].seen:
                self.told.append(told)
                self.vm = _seen(self.vm, told)
            self.agent.step(self.now, Reported())
            if self._works(actions):
                break
            actions = self.agent.sees(self.now, domains, (self.vm,))
        return actions

    def done(self, work: str) -> None:
        self.now += 0.1
        self.agent.step(self.now, VmWorkDone(1, 1, work))

    def crashes(self) -> float:
        """After how many seconds it is started again; it runs then."""
        began = self.now
        while not only(StartVm, self.sees(CRASHED)):
            assert self.now < began + 1000, "never started again"
        self.done("start")
        self.sees(running(1))
        return self.now - began

    @staticmethod
    def _works(actions: tuple[Action, ...]) -> bool:
        return any(isinstance(a, (StartVm, DestroyVm, ResumeVm)) for a in actions)


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        (CRASHED, End.CRASHED),
        (off(1, ended="shutdown"), End.SHUTDOWN),
        (PANICKED, End.PANICKED),
        (BY_WATCHDOG, End.HUNG),
        (SILENT, End.HUNG),
    ],
    ids=["QEMU died", "switched off inside", "panicked", "its watchdog fired", "silent"],
)
def test_an_end_is_told_before_anything_is_done_about_it(there: DomainFact, kind: End) -> None:
    wanted = _vm(guest_silence_seconds=20.0, on_guest_shutdown=AfterEnd.RESTART)
    one = NodeAgent.quorate()
    actions = one.sees(1.0, (there,), (wanted,))
    assert not only(StartVm, actions)
    assert not only(DestroyVm, actions)
    (told,) = only(Report, actions)[0].seen
    assert (told.ended, told.ends, told.ends_in_a_row, told.verified) == (kind, 1, 1, False)
    one.step(1.2, Reported())
    after = one.sees(1.4, (there,), (_seen(wanted, told),))
    if there.state is DomainState.SHUTOFF:
        assert only(StartVm, after)
    else:
        assert only(DestroyVm, after)


def test_a_guest_that_is_not_to_be_watched_or_not_silent_for_long_is_left_alone() -> None:
    for there, limit in ((SILENT, 0.0), (SILENT, 31.0), (running(1), 1.0)):
        actions = NodeAgent.quorate().sees(1.0, (there,), (_vm(guest_silence_seconds=limit),))
        assert not only(DestroyVm, actions)
        assert not [s for r in only(Report, actions) for s in r.seen if s.ended]


def test_restarts_wait_longer_each_time_and_one_that_ran_well_begins_anew() -> None:
    life = Life(_vm())
    waits = [life.crashes() for _ in range(RESTARTS_IN_PLACE)]
    assert waits[0] < 1
    assert 5 <= waits[1] < 6.5
    assert 10 <= waits[2] < 11.5
    well = life.agent.settings.well_seconds
    for _ in range(4):
        life.sees(running(1), after=well / 2)
    assert life.vm.observed.ends_in_a_row == 0
    assert life.vm.observed.ends == RESTARTS_IN_PLACE
    assert life.crashes() < 1


def test_after_too_many_in_a_row_it_is_given_up_once_and_then_restarted_for_ever() -> None:
    life = Life(_vm())
    for _ in range(RESTARTS_IN_PLACE):
        life.crashes()
    life.told.clear()
    assert life.crashes() >= 20, "nobody moved it: it is taken back and tried again"
    assert PowerSeen.FAILED in [t.power for t in life.told]
    assert "4 times in a row" in life.told[0].error
    life.told.clear()
    longest = life.agent.settings.end_retry_seconds_max
    for expected in (40, 80, 160, longest, longest):
        assert expected <= life.crashes() < expected + 3
    assert PowerSeen.FAILED not in [t.power for t in life.told], "moved once is enough"


def test_the_count_goes_with_the_vm_to_its_next_node() -> None:
    moved = replace(_vm(), generation=2)
    moved = replace(moved, observed=Observed(PowerSeen.FAILED, 1, "n9", ends=7, ends_in_a_row=4))
    one = NodeAgent.quorate()
    told = only(Report, one.sees(1.0, (off(1, 2, ended="crashed"),), (moved,)))[0].seen[0]
    assert (told.ends, told.ends_in_a_row) == (8, 5)


def test_a_restarted_agent_does_not_count_an_end_twice() -> None:
    told_before = replace(_vm(), observed=Observed(PowerSeen.OFF, 1, "n1", ended="crashed", ends=3, ends_in_a_row=1))
    actions = NodeAgent.quorate().sees(1.0, (CRASHED,), (told_before,))
    assert only(StartVm, actions)
    counts = [(s.ends, s.ends_in_a_row) for r in only(Report, actions) for s in r.seen]
    assert counts in ([], [(3, 1)])


def test_a_second_crash_before_anybody_saw_it_run_counts() -> None:
    life = Life(_vm())
    assert only(StartVm, life.sees(CRASHED))
    life.done("start")
    life.sees(CRASHED)
    assert (life.vm.observed.ends, life.vm.observed.ends_in_a_row) == (2, 2)


def test_a_guest_that_is_to_be_left_as_it_is_is_left() -> None:
    for there, follows in ((PANICKED, ""), (SILENT, ""), (BY_WATCHDOG, "resume")):
        wanted = _vm(on_panic=AfterEnd.IGNORE, on_hang=AfterEnd.IGNORE, guest_silence_seconds=5.0)
        life = Life(wanted)
        actions = life.sees(there)
        assert not only(DestroyVm, actions)
        assert bool(only(ResumeVm, actions)) == (follows == "resume")
        assert life.vm.observed.ends == 1


def test_what_is_off_cannot_be_left_as_it_is() -> None:
    policy = HaPolicy(on_crash=AfterEnd.IGNORE, on_guest_shutdown=AfterEnd.IGNORE)
    assert policy.after(End.CRASHED) is AfterEnd.STOP
    assert policy.after(End.SHUTDOWN) is AfterEnd.STOP


# -- disks


def _resumes(life: Life, seconds: float) -> list[float]:
    began, times = life.now, []
    while life.now < began + seconds:
        if only(ResumeVm, life.sees(BY_DISK, after=0.5)):
            times.append(life.now - began)
            life.done("resume")
    return times


def test_a_vm_whose_disk_failed_is_resumed_more_and_more_slowly() -> None:
    life = Life(_vm())
    times = _resumes(life, 200)
    pauses = [round(b - a) for a, b in pairwise(times)]
    assert 2 <= times[0] < 4
    assert pauses == sorted(pauses)
    assert 59 < pauses[-1] < 64
    assert "an I/O error of its disk in pool pool" in life.vm.observed.error
    assert life.vm.observed.power is PowerSeen.PAUSED


@pytest.mark.parametrize(
    ("problem", "resumed"),
    [("pool pool: Input/output error", False), ("pool pool full (3 MiB free)", False), ("pool pool2: gone", True)],
)
def test_it_is_not_resumed_while_its_pool_is_unwell_here(problem: str, resumed: bool) -> None:
    life = Life(_vm())
    life.agent.step(life.now, HealthChecked((problem,)))
    assert bool(_resumes(life, 30)) == resumed


def test_it_is_kept_where_that_is_the_policy() -> None:
    assert _resumes(Life(_vm(on_io_error=AfterIoError.KEEP)), 60) == []


IN_VAIN = replace(BY_DISK, no_space=False)


def _destroyed_after(life: Life, there: DomainFact, seconds: float) -> float | None:
    """After how long its QEMU is ended, if it is within that time."""
    began = life.now
    while life.now < began + seconds:
        actions = life.sees(there, after=0.5)
        if only(DestroyVm, actions):
            return life.now - began
        if only(ResumeVm, actions):
            life.done("resume")
    return None


def test_one_whose_resumes_are_in_vain_is_started_anew_as_after_a_crash() -> None:
    life = Life(_vm())
    after = _destroyed_after(life, IN_VAIN, 120)
    assert after is not None
    assert 50 < after < 75
    assert (life.vm.observed.ended, life.vm.observed.ends_in_a_row) == (End.DISK_FAILED, 1)
    life.done("destroy")
    assert only(StartVm, life.sees(off(1, ended="destroyed")))
    life.done("start")
    life.sees(running(1))
    again = _destroyed_after(life, IN_VAIN, 120)
    assert again is not None
    assert again > 50, "the resumes of the QEMU before say nothing of this one"
    assert life.vm.observed.ends_in_a_row == 2


@pytest.mark.parametrize("there", [BY_DISK, replace(BY_DISK, no_space=True)], ids=["nobody knows why", "no space"])
def test_it_is_resumed_for_ever_where_a_new_start_may_not_help(there: DomainFact) -> None:
    assert _destroyed_after(Life(_vm()), there, 600) is None


def test_it_is_not_started_anew_while_its_pool_is_unwell_or_against_its_policy() -> None:
    life = Life(_vm())
    life.agent.step(life.now, HealthChecked(("pool pool: Input/output error",)))
    assert _destroyed_after(life, IN_VAIN, 300) is None
    assert _destroyed_after(Life(_vm(on_io_error=AfterIoError.KEEP)), IN_VAIN, 300) is None


def test_a_reset_that_was_asked_for_meanwhile_does_not_hold_it_up() -> None:
    life = Life(replace(_vm(), resets_wanted=3))
    assert _destroyed_after(life, IN_VAIN, 120) is not None
