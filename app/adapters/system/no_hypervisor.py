"""The hypervisor port of a node that has none: a witness votes and remembers, and needs no libvirt."""

from collections.abc import Callable, Sequence

from app.domain.events import DomainFact
from app.domain.vm import StopMode
from app.ports.hypervisor import DomainSpec, HypervisorError, Passenger


class NoHypervisor:
    """Runs nothing, and says so: so a witness that was fenced proves itself clean like any other node."""

    def domains(self) -> Sequence[DomainFact]:
        return ()

    def start(self, spec: DomainSpec) -> None:
        raise HypervisorError(f"start VM {spec.vm_id}: this node is a witness, it hosts no VMs")

    def stop(self, vm_id: int, generation: int, mode: StopMode) -> None:
        """It is off."""

    def destroy(self, vm_id: int, generation: int) -> None:
        """There is none."""

    def pause(self, vm_id: int, generation: int) -> None:
        raise HypervisorError(f"VM {vm_id} of generation {generation} has no domain here")

    def resume(self, vm_id: int, generation: int) -> None:
        raise HypervisorError(f"VM {vm_id} of generation {generation} has no domain here")

    def reset(self, vm_id: int, generation: int, mode: StopMode) -> None:
        raise HypervisorError(f"VM {vm_id} of generation {generation} has no domain here: no {mode.value} reset")

    def migrate(self, vm_id: int, generation: int, passenger: Passenger) -> None:
        raise HypervisorError(
            f"VM {vm_id} of generation {generation} has no domain here: none goes to {passenger.node}"
        )

    def abort_migration(self, vm_id: int, generation: int) -> None:
        """There is none."""

    def watch(self, changed: Callable[[], None]) -> None:
        """Nothing ever changes."""

    def close(self) -> None:
        """Nothing to close."""
