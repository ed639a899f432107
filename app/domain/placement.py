"""Which node takes a VM.

The reference algorithm (`fewest-vms`): order the nodes by number of VMs, take the first that has enough
free memory for this VM; a spare is used only in a recovery. Ties are broken by free memory, then by
name, so that the same input gives the same output.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.domain.cluster import ClusterView
from app.domain.node import Node, NodeRole, NodeState
from app.domain.vm import Desired, Vm


@dataclass(frozen=True, slots=True)
class Load:
    """What a node carries now: VMs counted, memory in MiB taken and in total."""

    node: Node
    vms: int
    memory_used_mib: int

    @property
    def memory_free_mib(self) -> int:
        """Memory in MiB that is not promised to a VM."""
        return self.node.memory_mib - self.memory_used_mib

    def plus(self, vm: Vm) -> "Load":
        """The load with this VM on it."""
        return replace(self, vms=self.vms + 1, memory_used_mib=self.memory_used_mib + vm.memory_mib)


@dataclass(frozen=True, slots=True)
class Placement:
    """A node was found. `why` says what made it the choice, `others` why not the rest."""

    node: str
    why: str
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NoRoom:
    """No node was found. `others` says for each node why not."""

    others: tuple[tuple[str, str], ...]

    @property
    def reason(self) -> str:
        """One sentence for a human."""
        return "no node can take it: " + ("; ".join(f"{n}: {w}" for n, w in self.others) or "there are no nodes")


def loads_of(view: ClusterView) -> dict[str, Load]:
    """The load of every node by name. A VM counts where it is assigned and wanted running, and where it migrates to."""
    loads = {n.name: Load(n, 0, 0) for n in view.nodes}
    for vm in view.vms:
        if vm.node in loads and vm.desired is Desired.RUNNING:
            loads[vm.node] = loads[vm.node].plus(vm)
        if vm.migrating_to in loads and vm.desired is Desired.RUNNING:
            loads[vm.migrating_to] = loads[vm.migrating_to].plus(vm)
    return loads


def refusal(load: Load, vm: Vm, *, recovery: bool) -> str:
    """Why this node cannot take this VM; empty when it can."""
    node = load.node
    if node.role is NodeRole.WITNESS:
        return "is a witness and hosts no VMs"
    if node.state is not NodeState.ONLINE:
        return f"is {node.state.value}"
    if node.maintenance:
        return "is in maintenance"
    if node.role is NodeRole.SPARE and not recovery:
        return "is a spare, kept empty until a failure"
    if node.name in vm.failed_nodes:
        return "failed to start it before"
    if node.cores < vm.cores:
        return f"has {node.cores} cores, {vm.cores} needed"
    if load.memory_free_mib < vm.memory_mib:
        return f"has {load.memory_free_mib} MiB of memory free, {vm.memory_mib} MiB needed"
    return ""


def choose_node(loads: Iterable[Load], vm: Vm, *, recovery: bool = False) -> Placement | NoRoom:
    """The node for one VM by `fewest-vms`, or why none."""
    ordered = sorted(loads, key=lambda x: (x.vms, -x.memory_free_mib, x.node.name))
    judged = [(load, refusal(load, vm, recovery=recovery)) for load in ordered]
    fit = [load for load, why_not in judged if not why_not]
    if not fit:
        return NoRoom(tuple((load.node.name, why_not) for load, why_not in judged))
    best = fit[0]
    others = tuple(
        (load.node.name, why_not or f"has {load.vms} VMs, more than {best.node.name} or later in order")
        for load, why_not in judged
        if load is not best
    )
    why = f"fewest VMs ({best.vms}) of the nodes with {vm.memory_mib} MiB of memory free ({best.memory_free_mib} MiB)"
    return Placement(best.node.name, why, others)
