"""What happens to the VMs of a fenced node, and to those that wait for room.

A plan says what it could not do, and why. It never moves a VM that another node still holds, and it
gives every VM that it touches a new generation: the copy that died cannot come back under the old one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from app.domain.cluster import ClusterView, Incident
from app.domain.node import NodeState
from app.domain.placement import Placement, choose_space
from app.domain.placement_ledger import Ledger
from app.domain.placement_pass import Owed, Placed, first_pass, start_order
from app.domain.placement_repair import STEPS_MAX, repair
from app.domain.vm import Desired, Vm

__all__ = [
    "Assignment", "Losses", "PlacedBy", "RecoveryPlan", "Released", "Unplaced", "plan_recovery", "plan_waiting",
    "start_order", "unplaced_after",
]  # fmt: skip


class PlacedBy(StrEnum):
    """Which pass of the plan found the node: the strategy alone, or the search that packs anew what it left over."""

    FIRST = "first"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Assignment:
    """One VM, its new node and generation, and why there."""

    vm_id: int
    node: str
    generation: int
    why: str
    by: PlacedBy = PlacedBy.FIRST


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
class Stays:
    """One VM that is left with the failed node and waits for its return, and why."""

    vm_id: int
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """Where everything goes. `node` is the failed node, empty for a plan of waiting VMs only."""

    node: str
    assigned: tuple[Assignment, ...] = ()
    unplaced: tuple[Unplaced, ...] = ()
    released: tuple[Released, ...] = ()
    stays: tuple[Stays, ...] = ()

    @property
    def empty(self) -> bool:
        """True when the plan changes nothing."""
        return not (self.assigned or self.unplaced or self.released or self.stays)


def plan_recovery(view: ClusterView, failed: str) -> RecoveryPlan:
    """Spread the VMs of `failed` over the others. The caller holds the proof that it is fenced."""
    theirs = [v for v in view.vms if v.node == failed]
    stays = waits_for_return(view, failed)
    left = {s.vm_id for s in stays}
    going = [v for v in theirs if not v.local and v.id not in left]
    released = tuple(Released(v.id, v.next_generation) for v in going if not v.wants_to_run)
    ledger = Ledger(view)
    _lose(ledger, theirs, frozenset({failed}))
    assigned, unplaced = _place(ledger, [Owed(v) for v in going if v.wants_to_run])
    return RecoveryPlan(failed, assigned, unplaced, released, stays)


def may_wait_for_its_node(vm: Vm) -> bool:
    """A VM that a plan may leave with a node that is fenced."""
    return vm.local or vm.ha.restart_hold_seconds > 0


def waits_for_return(view: ClusterView, failed: str) -> tuple[Stays, ...]:
    """The VMs that are not recovered elsewhere: their disks are on that node, or they give it some time to return."""
    theirs = [v for v in view.vms if v.node == failed and v.wants_to_run]
    incident = view.incident_of(failed)
    held = [v for v in theirs if not v.local and incident and not _hold_is_over(view, v, incident)]
    disk = f"its disk is on {failed} alone: it waits for that node"
    local = [Stays(v.id, v.generation, disk) for v in theirs if v.local]
    hold = "gives {} {:g} s from its loss to return before it goes elsewhere"
    return (*local, *(Stays(v.id, v.generation, hold.format(failed, v.ha.restart_hold_seconds)) for v in held))


def _hold_is_over(view: ClusterView, vm: Vm, incident: Incident | None) -> bool:
    """It has waited for its node as long as its policy says; without a clock or an incident it waits no more.

    One that is not to wait at all asks no clock: that of the coordinator may be behind that of the one before it.
    """
    if incident is None or view.at is None or vm.ha.restart_hold_seconds <= 0:
        return True
    return (view.at - incident.opened_at).total_seconds() >= vm.ha.restart_hold_seconds


def _done_waiting(view: ClusterView) -> list[Vm]:
    """The VMs that gave their fenced node time to return, in vain."""
    fenced = {n.name for n in view.nodes if n.state is NodeState.FENCED}
    incidents = {i.id: i for i in view.incidents}
    held = [v for v in view.vms if v.node in fenced and v.wants_to_run and not v.local]
    return [v for v in held if _hold_is_over(view, v, incidents.get(v.incident_id or 0))]


def plan_waiting(view: ClusterView) -> RecoveryPlan:
    """Place the VMs that wait for a node, move those that their node failed to start, and give those that are to be
    deleted an owner that does it.

    Only what changes is in the plan: a VM that still finds no room keeps its row, unless the reason changed. VMs of a
    recovery come before new ones, and those before the ones that have a node and only should have another.
    """
    ledger = Ledger(view)
    back = _done_waiting(view)
    for vm in back:
        ledger.forget(vm)
    waiting = [v for v in view.vms if v.node is None and v.wants_to_run] + back
    stuck = _stuck(view, ledger)
    assigned, unplaced = _place(ledger, [*map(_owed, waiting), *stuck])
    # Where it failed before is better than nowhere.
    nowhere = {u.vm_id for u in unplaced}
    again = [replace(v, failed_nodes=()) for v in waiting if v.id in nowhere and v.failed_nodes]
    forgiven, _ = _place(ledger, [_owed(v) for v in again])
    assigned += forgiven
    unplaced = tuple(u for u in unplaced if u.vm_id not in {a.vm_id for a in forgiven})
    reasons = {v.id: v.unplaced_reason for v in waiting}
    changed = tuple(u for u in unplaced if u.vm_id in reasons and reasons[u.vm_id] != u.reason)
    return RecoveryPlan("", (*assigned, *_undertakers(view)), changed)


def _owed(vm: Vm) -> Owed:
    return Owed(vm, recovery=vm.incident_id is not None, stage=vm.incident_id is None)


def unplaced_after(view: ClusterView, failed: frozenset[str], *, steps_max: int = STEPS_MAX) -> tuple[Vm, ...]:
    """The VMs that would have no node if all of `failed` were lost at once: what a recovery of them would strand.

    This is the search of the real recovery, so that a capacity promise rests on what would really be done.
    """
    return Losses(view).unplaced_after(failed, steps_max=steps_max)


class Losses:
    """Asks one view what many losses would strand; what does not change between the questions is looked at once."""

    def __init__(self, view: ClusterView) -> None:
        self._ledger = Ledger(view)
        self._on: dict[str, list[Vm]] = {}
        for vm in view.vms:
            if vm.node is not None:
                self._on.setdefault(vm.node, []).append(vm)

    def unplaced_after(self, failed: frozenset[str], *, steps_max: int = STEPS_MAX) -> tuple[Vm, ...]:
        """See the function of that name. `steps_max` bounds the repair search, 0 leaves it out."""
        theirs = [v for name in sorted(failed) for v in self._on.get(name, ())]
        ledger = self._ledger.copy()
        _lose(ledger, theirs, failed)
        owed = [Owed(v) for v in theirs if v.wants_to_run and not v.local]
        placed, _ = _search(ledger, owed, steps_max)
        return tuple(o.vm for o in owed if o.vm.id not in placed)


def _lose(ledger: Ledger, theirs: Sequence[Vm], failed: frozenset[str]) -> None:
    for vm in theirs:
        ledger.forget(vm)
    ledger.close(failed)


def _search(ledger: Ledger, owed: Sequence[Owed], steps_max: int) -> tuple[Placed, Placed]:
    """The result, and that of the first pass alone."""
    first = first_pass(ledger, owed)
    if len(first) == len(owed) or steps_max <= 0:
        return first, first
    placed = repair(ledger, owed, first, steps_max)
    left = [o for o in owed if o.vm.id not in placed]
    return placed | first_pass(ledger, left), first


def _place(ledger: Ledger, owed: Sequence[Owed]) -> tuple[tuple[Assignment, ...], tuple[Unplaced, ...]]:
    """All of `owed`, in the order in which they are to be started."""
    placed, first = _search(ledger, owed, STEPS_MAX)
    place = {vm.id: i for i, vm in enumerate(start_order(o.vm for o in owed))}
    assigned: list[Assignment] = []
    unplaced: list[Unplaced] = []
    reasons: dict[object, str] = {}
    for one in sorted(owed, key=lambda o: (o.stage, place[o.vm.id])):
        vm = one.vm
        if vm.id in placed:
            space, why = placed[vm.id]
            by = PlacedBy.FIRST if placed[vm.id] is first.get(vm.id) else PlacedBy.REPAIR
            assigned.append(Assignment(vm.id, space.node.name, vm.next_generation, why, by))
            continue
        # nothing changes any more: what is said of one is true of all that are like it
        alike = ledger.kind(vm, recovery=one.recovery), vm.memory_mib, vm.project_id, vm.needs.groups
        if alike not in reasons:
            choice = choose_space(ledger, vm, recovery=one.recovery)
            if isinstance(choice, Placement):  # only a plugin that changed its mind gets here
                assigned.append(Assignment(vm.id, choice.node, vm.next_generation, choice.why))
                continue
            reasons[alike] = choice.reason
        generation = vm.next_generation if vm.node is not None else vm.generation
        unplaced.append(Unplaced(vm.id, generation, reasons[alike]))
    return tuple(assigned), tuple(unplaced)


def _stuck(view: ClusterView, ledger: Ledger) -> list[Owed]:
    """VMs whose node gave up starting them: elsewhere, remembering where it failed; nowhere else: it tries on there.

    Those of a node that is lost wait for its proof like all others: what it said may be true no more. Until such a VM
    has another node it holds the room on its own; only its groups no longer count it there.
    """
    online = {n.name for n in view.online()}
    stuck = [v for v in view.vms if v.wants_to_run and v.given_up and not v.local and v.node in online]
    owed = []
    for vm in stuck:
        home = ledger.space(vm.node or "")
        if home is not None:
            ledger.leave_groups(vm, home)
        owed.append(Owed(replace(vm, failed_nodes=(*vm.failed_nodes, vm.node or "")), stage=2))
    return owed


def _undertakers(view: ClusterView) -> tuple[Assignment, ...]:
    """A deleted VM without a node still has volumes: any node that is online can remove them."""
    online = sorted(n.name for n in view.online() if n.role.value != "witness")
    if not online:
        return ()
    fenced = {n.name for n in view.nodes if n.state is NodeState.FENCED}
    homeless = (v for v in view.vms if v.node is None or (v.node in fenced and not v.local))
    orphans = [v for v in homeless if v.desired is Desired.DELETED]
    return tuple(
        Assignment(v.id, online[v.id % len(online)], v.next_generation, "removes the volumes of a deleted VM")
        for v in orphans
    )
