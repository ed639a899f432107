"""What the contract suite needs of each implementation, beyond the port."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from app.adapters.libvirt import LibvirtHypervisor
from app.adapters.libvirt.session import Patience
from app.adapters.sim.disks import SimDisks
from app.adapters.sim.hypervisor import SimHypervisor
from app.domain.events import DomainFact
from app.ports.hypervisor import Disk, DomainSpec, Hypervisor
from tests.ports.hypervisor.daemon import Libvirtd
from tests.ports.hypervisor.guest import Guest

IMPATIENT = Patience(open_timeout_seconds=3, keepalive_interval_seconds=1, keepalive_count=2)


class Bench(Protocol):
    """One implementation with its surroundings."""

    hypervisor: Hypervisor
    sees_guest: bool

    def spec(self, vm_id: int, generation: int = 1) -> DomainSpec:
        """A VM that can start here."""

    def until(self, what: str, condition: Callable[[], object], timeout_seconds: float = 60) -> None:
        """Let time pass until the condition holds."""


def fact(hypervisor: Hypervisor, vm_id: int) -> DomainFact | None:
    """What `domains` says of one VM."""
    return next((f for f in hypervisor.domains() if f.vm_id == vm_id), None)


@dataclass
class SimBench:
    sees_guest: bool = True
    time: float = 100.0
    hypervisor: SimHypervisor = field(init=False)

    def __post_init__(self) -> None:
        self.hypervisor = SimHypervisor("n1", lambda: self.time, SimDisks())

    def spec(self, vm_id: int, generation: int = 1) -> DomainSpec:
        disk = Disk("file", f"/pool/vm-{vm_id}-0", "raw")
        return DomainSpec(vm_id, generation, "n1", f"web{vm_id}", 1, 96, (disk,))

    def until(self, what: str, condition: Callable[[], object], timeout_seconds: float = 60) -> None:
        end = self.time + timeout_seconds
        while not condition():
            assert self.time < end, f"no {what} within {timeout_seconds:g} s"
            self.time += 0.5

    def go_away(self) -> None:
        self.hypervisor.unavailable = True

    def come_back(self) -> None:
        self.hypervisor.libvirt_returns()

    def close(self) -> None:
        self.hypervisor.close()


@dataclass
class LibvirtBench:
    directory: Path
    hypervisor: LibvirtHypervisor
    sees_guest: bool
    guest: Guest | None = None
    daemon: Libvirtd | None = None

    def spec(self, vm_id: int, generation: int = 1) -> DomainSpec:
        volume = self.directory / f"vm-{vm_id}-0"
        if not volume.exists():
            with volume.open("wb") as file:
                file.truncate(1 << 20)
        kernel, initrd = ("", "") if self.guest is None else (str(self.guest.kernel), str(self.guest.initrd))
        return DomainSpec(
            vm_id,
            generation,
            node="n1",
            name=f"web{vm_id}",
            cores=1,
            memory_mib=96,
            disks=(Disk("file", str(volume), "raw"),),
            kernel=kernel,
            initrd=initrd,
            cmdline="console=ttyS0 quiet panic=1",
        )

    def until(self, what: str, condition: Callable[[], object], timeout_seconds: float = 60) -> None:
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            assert time.monotonic() < deadline, f"no {what} within {timeout_seconds:g} s"
            time.sleep(0.05)

    def console(self, vm_id: int) -> str:
        log = self.directory / f"hf-{vm_id}.log"
        return log.read_text(errors="replace") if log.exists() else ""

    def go_away(self) -> None:
        assert self.daemon is not None
        self.daemon.kill()

    def come_back(self) -> None:
        assert self.daemon is not None
        self.daemon.start()

    def close(self) -> None:
        for known in self.hypervisor.domains():
            self.hypervisor.destroy(known.vm_id, known.generation)
        self.hypervisor.close()


def memory_bench(directory: Path) -> LibvirtBench:
    """libvirt's own in-memory driver."""
    return LibvirtBench(directory, LibvirtHypervisor("test:///default", "test", str(directory)), sees_guest=False)


def qemu_bench(directory: Path, daemon: Libvirtd, guest: Guest) -> LibvirtBench:
    """A real libvirtd and QEMU, emulating."""
    hypervisor = LibvirtHypervisor(daemon.uri, "qemu", str(directory), patience=IMPATIENT)
    return LibvirtBench(directory, hypervisor, True, guest, daemon)
