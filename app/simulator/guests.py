"""The simulated hypervisor with a witness: each change of a copy is told, in the words of a story."""

from collections.abc import Callable
from dataclasses import dataclass

from app.adapters.sim.hypervisor import SimHypervisor
from app.domain.events import UP, DomainState
from app.ports.hypervisor import DomainSpec


@dataclass
class ToldHypervisor(SimHypervisor):
    """`tell(node, text)` for people; `started(node, vm, generation)` for the checks: a start or a resume."""

    tell: Callable[[str, str], None] = lambda _node, _text: None
    started: Callable[[str, int, int], None] = lambda _node, _vm, _generation: None

    def start(self, spec: DomainSpec) -> None:
        before = self.state_of(spec.vm_id)
        super().start(spec)
        if before not in UP:
            self.tell(self.node, f"starts {spec.name} (generation {spec.generation})")
            self.started(self.node, spec.vm_id, spec.generation)

    def destroy(self, vm_id: int, generation: int) -> None:
        name, before = self._name(vm_id), self.state_of(vm_id)
        super().destroy(vm_id, generation)
        if before in UP and self.state_of(vm_id) is None:
            self.tell(self.node, f"destroys {name} (generation {generation})")

    def pause(self, vm_id: int, generation: int) -> None:
        before = self.state_of(vm_id)
        super().pause(vm_id, generation)
        if before is DomainState.RUNNING:
            self.tell(self.node, f"pauses {self._name(vm_id)}")

    def resume(self, vm_id: int, generation: int) -> None:
        before = self.state_of(vm_id)
        super().resume(vm_id, generation)
        if before is DomainState.PAUSED:
            self.tell(self.node, f"resumes {self._name(vm_id)}")
            self.started(self.node, vm_id, generation)

    def state_of(self, vm_id: int) -> DomainState | None:
        """What this copy is in, None without one; answers also when libvirt does not."""
        domain = self._domains.get(vm_id)
        return domain.state if domain else None

    def copies(self) -> dict[int, int]:
        """VM -> generation of all copies that are up here, running or paused."""
        return {d.spec.vm_id: d.spec.generation for d in self._domains.values() if d.state in UP}

    def _name(self, vm_id: int) -> str:
        domain = self._domains.get(vm_id)
        return domain.spec.name if domain else f"VM {vm_id}"
