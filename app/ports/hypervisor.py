"""The VMs of this node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from app.domain.events import DomainFact
from app.domain.vm import StopMode


class HypervisorError(Exception):
    """The hypervisor refused one operation on one VM; the text is for an operator."""


class HypervisorUnavailable(HypervisorError):
    """The hypervisor does not answer at all."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A block device as QEMU opens it. `format` is raw or qcow2; `path` a file or block device.

    `kind` is "file", "block" or "network"; for network, `protocol`, `path` (name in it) and `hosts` are set.
    """

    kind: str
    path: str
    format: str
    protocol: str = ""
    hosts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Nic:
    """A network interface: host bridge (empty: none, not created) and MAC address."""

    bridge: str
    mac: str


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """All that makes a domain. Memory in MiB. `kernel` set: direct kernel boot."""

    vm_id: int
    generation: int
    node: str
    name: str
    cores: int
    memory_mib: int
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...] = ()
    kernel: str = ""
    initrd: str = ""
    cmdline: str = ""
    console_log: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    #: the request or incident that this start follows from; empty: none is known
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class Passenger:
    """The copy that a live migration makes: on which node (name and address), and in which generation."""

    node: str
    address: str
    generation: int


class Hypervisor(Protocol):
    """What this node's agent does to its VMs. Every call blocks; HypervisorError says what failed.

    All operations name VM and generation: a domain of another generation is never touched by them
    (`HypervisorError`), with the exception of `destroy`, which names the generation that must go.
    """

    def domains(self) -> Sequence[DomainFact]:
        """All domains that carry our metadata, running or only defined. HypervisorUnavailable."""

    def start(self, spec: DomainSpec) -> None:
        """Define and start. Starting a copy that runs already in this generation is no error."""

    def stop(self, vm_id: int, generation: int, mode: StopMode) -> None:
        """ACPI: press the power button and return; HARD: off when it returns. No error if it is off."""

    def destroy(self, vm_id: int, generation: int) -> None:
        """Off and undefined when it returns. No error if there is no such domain."""

    def pause(self, vm_id: int, generation: int) -> None:
        """CPUs stopped when it returns. No error if they are."""

    def resume(self, vm_id: int, generation: int) -> None:
        """CPUs run when it returns. No error if they do."""

    def reset(self, vm_id: int, generation: int, mode: StopMode) -> None:
        """ACPI: ask the guest to reboot; HARD: the reset button."""

    def migrate(self, vm_id: int, generation: int, passenger: Passenger) -> None:
        """Begin a live migration of the copy that runs here; it goes on by itself, and `DomainFact.move` tells of it.

        The passenger is PAUSED from its first moment, and stays so when it is complete. A copy that was handed over is
        off here with `ended` "migrated"; after a failure it goes on here. HypervisorError when it cannot begin.
        """

    def abort_migration(self, vm_id: int, generation: int) -> None:
        """Ask for the end of the migration that is under way; no error if there is none. The copy here goes on."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` (from any thread) whenever a domain may have changed. Keeps trying when it is gone."""

    def close(self) -> None:
        """Give up the connection and its threads. VMs run on."""
