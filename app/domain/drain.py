"""How far the emptying of a node is: what is on its way, what waits, and what an operator must do something about."""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.cluster import ClusterView
from app.domain.moves import Blocked, plan_moves
from app.domain.vm import PowerSeen, Vm


class Leaving(StrEnum):
    """Where one VM stands on its way out."""

    MOVING = "moving"
    WAITING = "waiting"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class LeavingVm:
    """One VM that the node still has and that is not off. Progress in percent; `reason` why it is not on its way."""

    vm_id: int
    name: str
    state: Leaving
    to: str = ""
    progress: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """`done`: nothing runs there any more and nothing comes. `draining` False: nobody asked for it."""

    node: str
    draining: bool
    vms: tuple[LeavingVm, ...]

    @property
    def done(self) -> bool:
        """True when the node can be switched off without stopping a VM."""
        return self.draining and not self.vms

    def count(self, state: Leaving) -> int:
        """How many VMs are in that state."""
        return sum(v.state is state for v in self.vms)


def drain_progress(view: ClusterView, name: str) -> DrainProgress:
    """The VMs that the node has, and those that are on their way to it still."""
    node = view.node(name)
    draining = node is not None and (node.evacuating or bool(node.leaving) or node.quarantined_until is not None)
    plan = plan_moves(view)
    blocked, begun = {b.vm_id: b for b in plan.blocked}, {b.vm_id for b in plan.begin}
    leaving = []
    for vm in view.vms:
        if vm.migrating_to == name:
            leaving.append(LeavingVm(vm.id, vm.name, Leaving.WAITING, reason=f"is just coming from {vm.node}"))
        elif vm.node == name and _is_up(vm):
            leaving.append(_leaving(vm, blocked.get(vm.id), due=vm.id in begun))
    return DrainProgress(name, draining, tuple(leaving))


def _leaving(vm: Vm, blocked: Blocked | None, *, due: bool) -> LeavingVm:
    if vm.migrating_to is not None:
        return LeavingVm(vm.id, vm.name, Leaving.MOVING, vm.migrating_to, vm.migration.progress, vm.migration.cancel)
    if not vm.wants_to_run:
        return LeavingVm(vm.id, vm.name, Leaving.WAITING, reason="is being stopped")
    if blocked is not None:
        state = Leaving.STUCK if blocked.stuck else Leaving.WAITING
        return LeavingVm(vm.id, vm.name, state, reason=blocked.reason)
    tried = f"; {vm.migration.tries} tries failed, the last because: {vm.migration.error}" if vm.migration.tries else ""
    return LeavingVm(vm.id, vm.name, Leaving.WAITING, reason=("is next" if due else "stays, nobody drains it") + tried)


def _is_up(vm: Vm) -> bool:
    """Wanted there, or not seen off yet."""
    return vm.wants_to_run or (vm.seen_current and vm.observed.power not in (PowerSeen.OFF, PowerSeen.FAILED))
