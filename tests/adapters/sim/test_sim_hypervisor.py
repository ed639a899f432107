"""What the simulated hypervisor adds to the port: a double run never goes unseen."""

import pytest

from app.adapters.sim.disks import DoubleRun, SimDisks, Writer
from app.adapters.sim.hypervisor import SimHypervisor
from app.domain.vm import StopMode
from app.ports.hypervisor import DomainSpec, HypervisorError


def _spec(node: str, generation: int) -> DomainSpec:
    return DomainSpec(17, generation, node, "web", 1, 512, ())


def _two_nodes(disks: SimDisks) -> tuple[SimHypervisor, SimHypervisor]:
    return SimHypervisor("n1", lambda: 0.0, disks), SimHypervisor("n2", lambda: 0.0, disks)


def test_the_image_lock_refuses_a_second_copy_even_of_a_paused_one() -> None:
    disks = SimDisks()
    first, second = _two_nodes(disks)
    first.start(_spec("n1", 1))
    first.pause(17, 1)
    with pytest.raises(HypervisorError, match="image lock"):
        second.start(_spec("n2", 2))
    assert list(second.domains()) == []
    assert disks.violations == []


def test_without_a_lock_a_second_writer_is_seen_at_once() -> None:
    disks = SimDisks(image_lock=False)
    first, second = _two_nodes(disks)
    first.start(_spec("n1", 1))
    with pytest.raises(DoubleRun, match=r"n1 \(generation 1\) and n2 \(generation 2\)"):
        second.start(_spec("n2", 2))
    assert len(disks.violations) == 1


def test_a_zombie_that_resumes_beside_its_successor_is_seen() -> None:
    disks = SimDisks(image_lock=False, raise_violations=False)
    first, second = _two_nodes(disks)
    first.start(_spec("n1", 1))
    first.pause(17, 1)
    second.start(_spec("n2", 2))
    assert disks.violations == []
    first.resume(17, 1)
    assert disks.violations == ["VM 17 is written by n1 (generation 1) and n2 (generation 2)"]


def test_a_power_cut_frees_the_disks_and_forgets_the_domains() -> None:
    disks = SimDisks()
    first, second = _two_nodes(disks)
    first.start(_spec("n1", 1))
    first.power_cut()
    assert list(first.domains()) == []
    second.start(_spec("n2", 2))
    assert disks.writers(17) == {Writer("n2", 2)}


def test_starts_can_be_told_to_fail_by_vm_and_by_node() -> None:
    first, _ = _two_nodes(SimDisks())
    first.refuse_starts[17] = "no memory"
    with pytest.raises(HypervisorError, match="no memory"):
        first.start(_spec("n1", 1))
    first.refuse_starts.clear()
    first.refuse_all_starts = "host is sick"
    with pytest.raises(HypervisorError, match="sick"):
        first.start(_spec("n1", 1))
    first.refuse_all_starts = ""
    first.start(_spec("n1", 1))


def test_a_deaf_guest_ignores_the_button_and_a_crash_is_told() -> None:
    hypervisor, _ = _two_nodes(SimDisks())
    hypervisor.boot_seconds = 0
    hypervisor.deaf_guests.add(17)
    hypervisor.start(_spec("n1", 1))
    hypervisor.stop(17, 1, StopMode.ACPI)
    assert [f.ended for f in hypervisor.domains()] == [""]
    hypervisor.crash(17)
    assert [f.ended for f in hypervisor.domains()] == ["crashed"]
