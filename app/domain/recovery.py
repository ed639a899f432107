"""What happens to the VMs of a fenced node, and to those that wait for room.

A plan says what it could not do, and why. It never moves a VM that another node still holds, and it
gives every VM that it touches a new generation: the copy that died cannot come back under the old one.
"""

from dataclasses import dataclass, replace

from app.domain.cluster import ClusterView
from app.domain.placement import NoRoom, choose_node, loads_of
from app.domain.vm import Desired, Vm


@dataclass(frozen=True, slots=True)
class Assignment:
    """One VM, its new node and generation, and why there."""

    vm_id: int
    node: str
    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    """One VM that no node can take, with the reason. It is tried again whenever capacity changes."""

    vm_id: int
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """One VM that leaves the failed node without a new one: it was stopped, suspended or deleted there."""

    vm_id: int
    generation: int


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """Where everything goes. `node` is the failed node, empty for a plan of waiting VMs only."""

    node: str
    assigned: tuple[Assignment, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    released: tuple[Released, ...] = ()

    @property
    def empty(self) -> bool:
        """True when the plan changes nothing."""
        return not (self.assigned or self.unplaced or self.released)


def start_order(vms: list[Vm]) -> list[Vm]:
    """Highest priority first; within one priority large VMs first, which strands fewer of them."""
    return sorted(vms, key=lambda v: (-v.priority, -v.memory_mib, v.id))


def plan_recovery(view: ClusterView, failed: str) -> RecoveryPlan:
    """Spread the VMs of `failed` over the others. The caller holds the proof that it is fenced."""
    theirs = [v for v in view.vms if v.node == failed]
    owed = [v for v in theirs if v.wants_to_run]
    released = tuple(Released(v.id, v.next_generation) for v in theirs if not v.wants_to_run)
    assigned, unplaced = _place(view, owed, exclude=frozenset({failed}), recovery=True)
    return RecoveryPlan(failed, assigned, unplaced, released)


def unplaced_after(view: ClusterView, failed: frozenset[str]) -> tuple[Vm, ...]:
    """The VMs that would have no node if all of `failed` were lost at once: what a recovery of them would strand.

    This is the search of the real recovery, so that a capacity promise rests on what would really be done.
    """
    owed = [v for v in view.vms if v.node in failed and v.wants_to_run]
    _, unplaced = _place(view, owed, exclude=failed, recovery=True)
    stranded = {u.vm_id for u in unplaced}
    return tuple(v for v in owed if v.id in stranded)


def plan_waiting(view: ClusterView) -> RecoveryPlan:
    """Place the VMs that wait for a node, move those that their node failed to start, and give those that are to be
    deleted an owner that does it.

    Only what changes is in the plan: a VM that still finds no room keeps its row, unless the reason changed.
    """
    waiting = [v for v in view.vms if v.node is None and v.wants_to_run]
    from_recovery = [v for v in waiting if v.incident_id is not None]
    fresh = [v for v in waiting if v.incident_id is None]
    assigned, unplaced = _place(view, from_recovery, exclude=frozenset(), recovery=True)
    taken = {a.vm_id: a.node for a in assigned}
    more, not_yet = _place(view, fresh, exclude=frozenset(), recovery=False, taken=taken)
    relocated = _relocate(view, {**taken, **{a.vm_id: a.node for a in more}})
    reasons = {v.id: v.unplaced_reason for v in waiting}
    changed = tuple(u for u in (*unplaced, *not_yet) if reasons[u.vm_id] != u.reason)
    return RecoveryPlan("", (*assigned, *more, *relocated, *_undertakers(view)), changed)


def _place(
    view: ClusterView, vms: list[Vm], *, exclude: frozenset[str], recovery: bool, taken: dict[int, str] | None = None
) -> tuple[tuple[Assignment, ...], tuple[Unplaced, ...]]:
    if not vms:
        return (), ()
    loads = {name: load for name, load in loads_of(view).items() if name not in exclude}
    by_id = {v.id: v for v in view.vms}
    for vm_id, node in (taken or {}).items():
        loads[node] = loads[node].plus(by_id[vm_id])
    assigned: list[Assignment] = []
    unplaced: list[Unplaced] = []
    for vm in start_order(vms):
        choice = choose_node(loads.values(), vm, recovery=recovery)
        if isinstance(choice, NoRoom):
            unplaced.append(
                Unplaced(vm.id, vm.next_generation if vm.node is not None else vm.generation, choice.reason)
            )
            continue
        loads[choice.node] = loads[choice.node].plus(vm)
        assigned.append(Assignment(vm.id, choice.node, vm.next_generation, choice.why))
    return tuple(assigned), tuple(unplaced)


def _relocate(view: ClusterView, taken: dict[int, str]) -> tuple[Assignment, ...]:
    """VMs whose node gave up starting them: elsewhere, remembering where it failed; nowhere else: it tries on there.

    Those of a node that is lost wait for its proof like all others: what it said may be true no more.
    """
    online = {n.name for n in view.online()}
    stuck = [v for v in view.vms if v.wants_to_run and v.given_up and v.node in online]
    elsewhere = [replace(v, failed_nodes=(*v.failed_nodes, v.node or "")) for v in stuck]
    assigned, _ = _place(view, elsewhere, exclude=frozenset(), recovery=True, taken=taken)
    return assigned


def _undertakers(view: ClusterView) -> tuple[Assignment, ...]:
    """A deleted VM without a node still has volumes: any node that is online can remove them."""
    online = sorted(n.name for n in view.online() if n.role.value != "witness")
    if not online:
        return ()
    orphans = [v for v in view.vms if v.desired is Desired.DELETED and v.node is None]
    return tuple(
        Assignment(v.id, online[v.id % len(online)], v.next_generation, "removes the volumes of a deleted VM")
        for v in orphans
    )
