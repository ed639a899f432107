"""What the contract suite needs of each implementation, beyond the port."""

import os
import signal
import socket as socketlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from app.adapters.libvirt import LibvirtHypervisor
from app.adapters.libvirt.migration import MigrationChoices
from app.adapters.libvirt.session import Patience
from app.adapters.sim.disks import SimDisks
from app.adapters.sim.hypervisor import SimHypervisor
from app.adapters.sim.moves import SimMoves
from app.domain.events import DomainFact
from app.ports.hypervisor import Disk, DomainSpec, Hypervisor, Passenger
from tests.ports.hypervisor.daemon import Libvirtd, wait_for
from tests.ports.hypervisor.guest import Guest

IMPATIENT = Patience(open_timeout_seconds=3, keepalive_interval_seconds=1, keepalive_count=2)


class Bench(Protocol):
    """One implementation with its surroundings."""

    hypervisor: Hypervisor
    sees_guest: bool

    def spec(self, vm_id: int, generation: int = 1) -> DomainSpec:
        """A VM that can start here."""

    def start_and(self, vm_id: int, what: str) -> None:
        """Start it, and let that happen to it: crash, panic, watchdog, shutdown (from inside), agent (falls silent)."""

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

    def start_and(self, vm_id: int, what: str) -> None:
        self.hypervisor.start(self.spec(vm_id))
        happens = {
            "crash": self.hypervisor.crash,
            "panic": self.hypervisor.panic,
            "watchdog": self.hypervisor.watchdog_fires,
            "shutdown": self.hypervisor.guest_shuts_down,
            "agent": self.hypervisor.hang,
        }
        happens[what](vm_id)

    def disk_fails_once(self, vm_id: int) -> None:
        self.hypervisor.failing_disks.add(vm_id)
        self.hypervisor.start(self.spec(vm_id))
        self.hypervisor.failing_disks.discard(vm_id)

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
    _nbd: subprocess.Popen[bytes] | None = None

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

    def start_and(self, vm_id: int, what: str) -> None:
        spec = self.spec(vm_id)
        self.hypervisor.start(replace(spec, cmdline=f"{spec.cmdline} test.do={what}"))
        if what == "crash":
            assert self.daemon is not None
            os.kill(self.daemon.qemu_pid(f"hf-{vm_id}"), signal.SIGKILL)

    def disk_fails_once(self, vm_id: int) -> None:
        """Its disk is an NBD export whose first write fails."""
        disk = self.spec(vm_id).disks[0]
        with socketlib.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        once = "inject-error.0.event=none,inject-error.0.iotype=write,inject-error.0.once=on"
        image = f"driver=raw,file.driver=blkdebug,file.image.driver=file,file.image.filename={disk.path}"
        image += "".join(f",file.{option}" for option in once.split(","))
        self._nbd = subprocess.Popen(
            ["qemu-nbd", "--bind=127.0.0.1", f"--port={port}", "--persistent", "--image-opts", image]
        )
        wait_for("NBD server", lambda: _listens(port))
        remote = Disk("network", "", "raw", "nbd", (("127.0.0.1", port),))
        self.hypervisor.start(replace(self.spec(vm_id), disks=(remote,)))

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
        if self._nbd is not None:
            self._nbd.kill()
            self._nbd.wait(10)


def _listens(port: int) -> bool:
    with socketlib.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def memory_bench(directory: Path) -> LibvirtBench:
    """libvirt's own in-memory driver."""
    return LibvirtBench(directory, LibvirtHypervisor("test:///default", "test", str(directory)), sees_guest=False)


def qemu_bench(directory: Path, daemon: Libvirtd, guest: Guest) -> LibvirtBench:
    """A real libvirtd and QEMU, emulating."""
    hypervisor = LibvirtHypervisor(daemon.uri, "qemu", str(directory), patience=IMPATIENT)
    return LibvirtBench(directory, hypervisor, True, guest, daemon)


class Pair(Protocol):
    """Two nodes that reach each other and see the same volumes; the second is the target of migrations."""

    source: Hypervisor
    target: Hypervisor

    def spec(self, vm_id: int, generation: int = 1) -> DomainSpec:
        """A VM that can start at the source."""

    def passenger(self, generation: int) -> Passenger:
        """The copy that is to be made at the target."""

    def slow(self) -> None:
        """Migrations that begin from now on take too long for a test."""

    def until(self, what: str, condition: Callable[[], object], timeout_seconds: float = 60) -> None:
        """Let time pass until the condition holds."""


class SimPair:
    def __init__(self) -> None:
        self.time = 100.0
        self.moves = SimMoves()
        disks = SimDisks(image_lock=False)
        self.source, self.target = (SimHypervisor(name, lambda: self.time, disks) for name in ("n1", "n2"))
        for host in (self.source, self.target):
            self.moves.join(host)

    def spec(self, vm_id: int, generation: int = 1) -> DomainSpec:
        disk = Disk("file", f"/pool/vm-{vm_id}-0", "raw")
        return DomainSpec(vm_id, generation, "n1", f"web{vm_id}", 1, 96, (disk,))

    def passenger(self, generation: int) -> Passenger:
        return Passenger("n2", "10.0.0.2", generation)

    def slow(self) -> None:
        self.moves.hangs.add("n1")

    def until(self, what: str, condition: Callable[[], object], timeout_seconds: float = 60) -> None:
        end = self.time + timeout_seconds
        while not condition():
            assert self.time < end, f"no {what} within {timeout_seconds:g} s"
            self.time += 0.25
            self.moves.step()

    def close(self) -> None:
        self.source.close()
        self.target.close()


class LibvirtPair:
    """Two daemons of one host: they meet at their sockets."""

    def __init__(self, directory: Path, daemons: tuple[Libvirtd, Libvirtd], guest: Guest) -> None:
        self.daemons = daemons
        self._way = MigrationChoices(
            "qemu+unix:///system?socket={address}/run/libvirt-sock", "tcp://127.0.0.1", tls=False, unsafe=True
        )
        self.source, self.target = (
            LibvirtHypervisor(d.uri, "qemu", str(directory), patience=IMPATIENT, migration=self._way) for d in daemons
        )
        self.bench = LibvirtBench(directory, self.source, True, guest, daemons[0])

    def spec(self, vm_id: int, generation: int = 1) -> DomainSpec:
        return self.bench.spec(vm_id, generation)

    def passenger(self, generation: int) -> Passenger:
        return Passenger("n2", str(self.daemons[1].directory), generation)

    def slow(self) -> None:
        """One MiB a second."""
        self.source.close()
        way = replace(self._way, bandwidth_mib_per_second_max=1)
        directory = str(self.bench.directory)
        self.source = LibvirtHypervisor(self.daemons[0].uri, "qemu", directory, patience=IMPATIENT, migration=way)

    def until(self, what: str, condition: Callable[[], object], timeout_seconds: float = 60) -> None:
        self.bench.until(what, condition, timeout_seconds)

    def close(self) -> None:
        for host in (self.source, self.target):
            for known in host.domains():
                host.destroy(known.vm_id, known.generation)
            host.close()
