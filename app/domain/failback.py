"""VMs that belong to another node than the one they run on, and may go home: what a migration then does.

A recovery notes the node that a VM came from (`Vm.home`). With the policy `failback` it goes back there once that node
is well again, by live migration only: a VM is not stopped to be somewhere nicer.
"""

from dataclasses import dataclass

from app.domain.cluster import ClusterView, IncidentPhase
from app.domain.node import NodeState
from app.domain.placement import why_not_move
from app.domain.placement_ledger import Ledger
from app.domain.vm import Vm


@dataclass(frozen=True, slots=True)
class Homecoming:
    """One VM and the node that it goes back to."""

    vm_id: int
    node: str


def homecomings(view: ClusterView) -> tuple[Homecoming, ...]:
    """The most important first. Nothing while a recovery is under way, and nothing that its home has no room for."""
    if any(i.phase is not IncidentPhase.CLOSED for i in view.incidents):
        return ()
    ledger, well = Ledger(view), {n.name for n in view.nodes if n.state is NodeState.ONLINE and n.health == "ok"}
    going: list[Homecoming] = []
    for vm in sorted(view.vms, key=lambda v: (-v.priority, v.id)):
        if vm.home not in well or not goes_home(vm) or why_not_move(ledger, vm, vm.home):
            continue
        space = ledger.space(vm.home)
        assert space is not None
        going.append(Homecoming(vm.id, vm.home))
        ledger.forget(vm)
        ledger.take(vm, space)
    return tuple(going)


def goes_home(vm: Vm) -> bool:
    """Its policy wants it elsewhere than it is, and it could be moved."""
    away = vm.node is not None and vm.node != vm.home
    return vm.ha.failback and away and vm.verified and vm.wants_to_run and vm.migrating_to is None
