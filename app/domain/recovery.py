"""What happens to the VMs of a fenced node, and to those that wait for room.

A plan says what it could not do, and why. It never moves a VM that another node still holds, and it
gives every VM that it touches a new generation: the copy that died cannot come back under the old one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from app.domain.cluster import ClusterView
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


def plan_recovery(view: ClusterView, failed: str) -> RecoveryPlan:
    """Spread the VMs of `failed` over the others. The caller holds the proof that it is fenced."""
    theirs = [v for v in view.vms if v.node == failed]
    released = tuple(Released(v.id, v.next_generation) for v in theirs if not v.wants_to_run)
    ledger = Ledger(view)
    _lose(ledger, theirs, frozenset({failed}))
    assigned, unplaced = _place(ledger, [Owed(v) for v in theirs if v.wants_to_run])
    return RecoveryPlan(failed, assigned, unplaced, released)


def plan_waiting(view: ClusterView) -> RecoveryPlan:
    """Place the VMs that wait for a node, move those that their node failed to start, and give those that are to be
    deleted an owner that does it.

    Only what changes is in the plan: a VM that still finds no room keeps its row, unless the reason changed. VMs of a
    recovery come before new ones, and those before the ones that have a node and only should have another.
    """
    ledger = Ledger(view)
    waiting = [v for v in view.vms if v.node is None and v.wants_to_run]
    owed = [Owed(v, recovery=v.incident_id is not None, stage=v.incident_id is None) for v in waiting]
    stuck = _stuck(view, ledger)
    assigned, unplaced = _place(ledger, [*owed, *stuck])
    reasons = {v.id: v.unplaced_reason for v in waiting}
    changed = tuple(u for u in unplaced if u.vm_id in reasons and reasons[u.vm_id] != u.reason)
    return RecoveryPlan("", (*assigned, *_undertakers(view)), changed)


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
        owed = [Owed(v) for v in theirs if v.wants_to_run]
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
    for one in sorted(owed, key=lambda o: (o.stage, place[o.vm.id])):
        vm = one.vm
        if vm.id in placed:
            space, why = placed[vm.id]
            by = PlacedBy.FIRST if placed[vm.id] is first.get(vm.id) else PlacedBy.REPAIR
            assigned.append(Assignment(vm.id, space.node.name, vm.next_generation, why, by))
            continue
        choice = choose_space(ledger, vm, recovery=one.recovery)
        if isinstance(choice, Placement):  # only a plugin that changed its mind gets here
            assigned.append(Assignment(vm.id, choice.node, vm.next_generation, choice.why))
            continue
        unplaced.append(Unplaced(vm.id, vm.next_generation if vm.node is not None else vm.generation, choice.reason))
    return tuple(assigned), tuple(unplaced)


def _stuck(view: ClusterView, ledger: Ledger) -> list[Owed]:
    """VMs whose node gave up starting them: elsewhere, remembering where it failed; nowhere else: it tries on there.

    Those of a node that is lost wait for its proof like all others: what it said may be true no more. Until such a VM
    has another node it holds the room on its own; only its groups no longer count it there.
    """
    online = {n.name for n in view.online()}
    stuck = [v for v in view.vms if v.wants_to_run and v.given_up and v.node in online]
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
    orphans = [v for v in view.vms if v.desired is Desired.DELETED and v.node is None]
    return tuple(
        Assignment(v.id, online[v.id % len(online)], v.next_generation, "removes the volumes of a deleted VM")
        for v in orphans
    )
