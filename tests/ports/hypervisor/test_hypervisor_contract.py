"""The port `Hypervisor`, on the simulated one, on libvirt's test driver and on a real libvirtd with QEMU."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.domain.events import DomainFact, DomainState
from app.domain.vm import StopMode
from app.ports.hypervisor import HypervisorError, HypervisorUnavailable
from tests.ports.hypervisor.bench import LibvirtBench, SimBench, fact

AnyBench = SimBench | LibvirtBench


def _alive(bench: AnyBench, vm_id: int) -> bool:
    known = fact(bench.hypervisor, vm_id)
    return known is not None and known.guest_alive is True


def test_an_empty_node_lists_nothing(bench: AnyBench) -> None:
    assert list(bench.hypervisor.domains()) == []


def test_a_started_vm_runs_in_its_generation_and_its_guest_comes_alive(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17, generation=3))
    known = fact(bench.hypervisor, 17)
    assert known == DomainFact(17, 3, DomainState.RUNNING, False if bench.sees_guest else None)
    if bench.sees_guest:
        bench.until("sign of life", lambda: _alive(bench, 17))


def test_starting_what_runs_is_no_error_and_changes_nothing(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17))
    bench.hypervisor.start(replace(bench.spec(17), memory_mib=128))
    assert [(f.vm_id, f.state) for f in bench.hypervisor.domains()] == [(17, DomainState.RUNNING)]


def test_a_domain_of_another_generation_is_left_alone_by_all_operations(bench: AnyBench) -> None:
    hypervisor = bench.hypervisor
    hypervisor.start(bench.spec(17, generation=4))
    acts: tuple[Callable[[], object], ...] = (
        lambda: hypervisor.start(bench.spec(17, generation=5)),
        lambda: hypervisor.stop(17, 5, StopMode.HARD),
        lambda: hypervisor.stop(17, 3, StopMode.ACPI),
        lambda: hypervisor.pause(17, 5),
        lambda: hypervisor.resume(17, 5),
        lambda: hypervisor.reset(17, 5, StopMode.HARD),
    )
    for act in acts:
        with pytest.raises(HypervisorError, match="generation 4"):
            act()
    hypervisor.destroy(17, 5)
    known = fact(hypervisor, 17)
    assert known is not None
    assert (known.generation, known.state) == (4, DomainState.RUNNING)


def test_an_off_domain_of_another_generation_must_go_before_a_start(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17, generation=1))
    bench.hypervisor.stop(17, 1, StopMode.HARD)
    with pytest.raises(HypervisorError, match="generation 1"):
        bench.hypervisor.start(bench.spec(17, generation=2))
    bench.hypervisor.destroy(17, 1)
    bench.hypervisor.start(bench.spec(17, generation=2))
    assert [(f.generation, f.state) for f in bench.hypervisor.domains()] == [(2, DomainState.RUNNING)]


def test_a_hard_stop_leaves_a_domain_that_says_so_and_can_start_again(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17))
    bench.hypervisor.stop(17, 1, StopMode.HARD)
    assert fact(bench.hypervisor, 17) == DomainFact(17, 1, DomainState.SHUTOFF, None, "destroyed")
    bench.hypervisor.stop(17, 1, StopMode.HARD)
    bench.hypervisor.start(bench.spec(17))
    known = fact(bench.hypervisor, 17)
    assert known is not None
    assert (known.state, known.ended) == (DomainState.RUNNING, "")


def test_the_power_button_lets_the_guest_end_itself(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17))
    if bench.sees_guest:
        bench.until("sign of life", lambda: _alive(bench, 17))
    bench.hypervisor.stop(17, 1, StopMode.ACPI)
    off = DomainFact(17, 1, DomainState.SHUTOFF, None, "shutdown")
    bench.until("end of the guest", lambda: fact(bench.hypervisor, 17) == off)


def test_a_soft_reset_keeps_the_vm(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17))
    if bench.sees_guest:
        bench.until("sign of life", lambda: _alive(bench, 17))
    bench.hypervisor.reset(17, 1, StopMode.ACPI)
    bench.until("running guest", lambda: (k := fact(bench.hypervisor, 17)) and k.state is DomainState.RUNNING)


def test_a_hard_reset_keeps_the_vm(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17))
    bench.hypervisor.reset(17, 1, StopMode.HARD)
    known = fact(bench.hypervisor, 17)
    assert known is not None
    assert known.state is DomainState.RUNNING


def test_destroy_leaves_nothing_whatever_the_state(bench: AnyBench) -> None:
    for vm_id in (17, 18, 19):
        bench.hypervisor.start(bench.spec(vm_id))
    bench.hypervisor.stop(18, 1, StopMode.HARD)
    bench.hypervisor.pause(19, 1)
    for vm_id in (17, 18, 19, 19, 99):
        bench.hypervisor.destroy(vm_id, 1)
    assert list(bench.hypervisor.domains()) == []


def test_pause_and_resume_may_be_repeated(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17))
    for _ in range(2):
        bench.hypervisor.pause(17, 1)
        assert fact(bench.hypervisor, 17) == DomainFact(17, 1, DomainState.PAUSED)
    for _ in range(2):
        bench.hypervisor.resume(17, 1)
        known = fact(bench.hypervisor, 17)
        assert known is not None
        assert known.state is DomainState.RUNNING


def test_starting_a_paused_copy_does_not_resume_it(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17))
    bench.hypervisor.pause(17, 1)
    bench.hypervisor.start(bench.spec(17))
    assert fact(bench.hypervisor, 17) == DomainFact(17, 1, DomainState.PAUSED)


def test_what_is_off_or_missing_cannot_be_paused_resumed_or_reset_but_is_stopped(bench: AnyBench) -> None:
    hypervisor = bench.hypervisor
    hypervisor.start(bench.spec(17))
    hypervisor.stop(17, 1, StopMode.HARD)
    for vm_id, words in ((17, "is off"), (99, "no domain")):
        with pytest.raises(HypervisorError, match=words):
            hypervisor.pause(vm_id, 1)
        with pytest.raises(HypervisorError, match=words):
            hypervisor.resume(vm_id, 1)
        with pytest.raises(HypervisorError, match=words):
            hypervisor.reset(vm_id, 1, StopMode.HARD)
        hypervisor.stop(vm_id, 1, StopMode.HARD)
        hypervisor.stop(vm_id, 1, StopMode.ACPI)


def test_watch_tells_of_starts_and_ends(bench: AnyBench) -> None:
    told = threading.Event()
    bench.hypervisor.watch(told.set)
    bench.hypervisor.domains()
    acts: tuple[Callable[[], object], ...] = (
        lambda: bench.hypervisor.start(bench.spec(17)),
        lambda: bench.hypervisor.pause(17, 1),
        lambda: bench.hypervisor.destroy(17, 1),
    )
    for act in acts:
        told.clear()
        act()
        bench.until("event", told.is_set, 5)


def test_several_threads_at_once(bench: AnyBench) -> None:
    specs = [bench.spec(vm_id) for vm_id in (1, 2, 3)]
    with ThreadPoolExecutor(8) as pool:
        starts = [pool.submit(bench.hypervisor.start, spec) for spec in specs * 2]
        lists = [pool.submit(bench.hypervisor.domains) for _ in range(10)]
        for start in starts:
            start.result(60)
        for listing in lists:
            listing.result(60)
        ends = [pool.submit(bench.hypervisor.destroy, spec.vm_id, 1) for spec in specs * 2]
        for end in ends:
            end.result(60)
    assert list(bench.hypervisor.domains()) == []


# -- a VM that ends by itself


def _ends(bench: AnyBench, vm_id: int, **facts: object) -> None:
    """In the end `domains` says that of it."""

    def so() -> bool:
        known = fact(bench.hypervisor, vm_id)
        return known is not None and all(getattr(known, name) == value for name, value in facts.items())

    bench.until(f"{facts}", so, 90)


def test_a_qemu_that_died_reads_crashed_and_can_be_started_again(mortal: AnyBench) -> None:
    mortal.start_and(17, "crash")
    _ends(mortal, 17, state=DomainState.SHUTOFF, ended="crashed")
    mortal.hypervisor.start(mortal.spec(17))
    assert (known := fact(mortal.hypervisor, 17)) is not None
    assert (known.state, known.ended) == (DomainState.RUNNING, "")


def test_a_guest_that_switches_itself_off_reads_shutdown(mortal: AnyBench) -> None:
    mortal.start_and(17, "shutdown")
    _ends(mortal, 17, state=DomainState.SHUTOFF, ended="shutdown")


def test_a_guest_that_panics_stands_still_until_it_is_destroyed(mortal: AnyBench) -> None:
    mortal.start_and(17, "panic")
    _ends(mortal, 17, state=DomainState.PANICKED)
    with pytest.raises(HypervisorError):
        mortal.hypervisor.resume(17, 1)
    assert (known := fact(mortal.hypervisor, 17)) is not None
    assert known.state is DomainState.PANICKED
    mortal.hypervisor.destroy(17, 1)
    assert list(mortal.hypervisor.domains()) == []


def test_a_guest_that_does_not_feed_its_watchdog_is_paused_by_it_and_can_go_on(mortal: AnyBench) -> None:
    mortal.start_and(17, "watchdog")
    _ends(mortal, 17, state=DomainState.PAUSED, paused_by="watchdog")
    mortal.hypervisor.resume(17, 1)
    assert (known := fact(mortal.hypervisor, 17)) is not None
    assert (known.state, known.paused_by) == (DomainState.RUNNING, "")


def test_a_guest_agent_that_falls_silent_is_noticed_and_a_guest_without_one_is_not_watched(mortal: AnyBench) -> None:
    mortal.start_and(17, "agent")
    mortal.hypervisor.start(mortal.spec(18))
    mortal.until("silence", lambda: (k := fact(mortal.hypervisor, 17)) and (k.silent_seconds or 0) >= 2, 120)
    assert (other := fact(mortal.hypervisor, 18)) is not None
    assert other.silent_seconds is None


def test_a_disk_that_fails_pauses_the_vm_and_says_so_and_a_resume_tries_again(mortal: AnyBench) -> None:
    mortal.disk_fails_once(17)
    _ends(mortal, 17, state=DomainState.PAUSED, paused_by="io-error")
    mortal.until("why", lambda: (k := fact(mortal.hypervisor, 17)) and k.no_space is False)
    mortal.hypervisor.resume(17, 1)
    mortal.until("sign of life", lambda: _alive(mortal, 17))
    assert (known := fact(mortal.hypervisor, 17)) is not None
    assert (known.state, known.paused_by) == (DomainState.RUNNING, "")


def test_a_pause_of_ours_has_no_other_cause(bench: AnyBench) -> None:
    bench.hypervisor.start(bench.spec(17))
    bench.hypervisor.pause(17, 1)
    assert (known := fact(bench.hypervisor, 17)) is not None
    assert (known.state, known.paused_by) == (DomainState.PAUSED, "")


def test_a_hypervisor_that_is_gone_says_so_at_once_and_its_vms_run_on(mortal: AnyBench) -> None:
    hypervisor = mortal.hypervisor
    hypervisor.start(mortal.spec(17))
    told = threading.Event()
    hypervisor.watch(told.set)
    hypervisor.domains()
    mortal.go_away()
    try:
        acts: tuple[Callable[[], object], ...] = (
            hypervisor.domains,
            lambda: hypervisor.start(mortal.spec(18)),
            lambda: hypervisor.pause(17, 1),
            lambda: hypervisor.destroy(17, 1),
        )
        for act in acts:
            with pytest.raises(HypervisorUnavailable):
                act()
        told.clear()
    finally:
        mortal.come_back()
    mortal.until("event of the return", told.is_set, 20)
    known = fact(hypervisor, 17)
    assert known is not None
    assert known.state is DomainState.RUNNING
    hypervisor.pause(17, 1)
