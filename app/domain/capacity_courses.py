"""What really follows when nodes are lost: the plans of the recovery, one after the other, in every order.

Nodes that fail together are planned one by one, as their proofs come in; a second node may also fail long after the
first was planned. A course is one of these orders: which node is planned, and which are lost by then. A loss is
survived only if no course strands a guaranteed VM that had a node before.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain, combinations

from app.domain.cluster import ClusterView
from app.domain.node import NodeState
from app.domain.policy import HaClass
from app.domain.recovery import RecoveryPlan, plan_recovery, plan_waiting
from app.domain.vm import Desired, Vm

#: losses of up to so many nodes are followed through all their courses: 1, 4 and 36 of them
NODES_MAX = 3


@dataclass(frozen=True, slots=True)
class Stranded:
    """A VM that would have no node, and why."""

    vm_id: int
    name: str
    memory_mib: int
    guaranteed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Point:
    """A cluster somewhere in a course: the nodes lost and those planned until here are in the view."""

    view: ClusterView
    lost: frozenset[str]
    planned: frozenset[str]


class OutOfWork(Exception):
    """The effort that was allowed is used up; nothing is known about what was not looked at."""


class Courses:
    """Follows losses from one settled view. `work_max`: VMs and nodes that plans may look at in all."""

    def __init__(self, view: ClusterView, work_max: int) -> None:
        self._start = _Point(view, frozenset(), frozenset())
        self._placed_before = frozenset(v.id for v in view.vms if v.wants_to_run and v.node is not None)
        self._firsts: dict[tuple[str, frozenset[str]], _Point] = {}
        self._plan_costs = len(view.vms) + len(view.nodes) + 10
        self.work_left = work_max

    def stranded(self, loss: frozenset[str], *, guaranteed_only: bool = True) -> tuple[Stranded, ...]:
        """What the first bad course of this loss leaves without a node; empty when there is none. OutOfWork."""
        return self._from(self._start, loss, guaranteed_only)

    def at_once(self, loss: Iterable[str]) -> tuple[ClusterView, tuple[Stranded, ...]]:
        """The cluster after all are lost at the same moment and planned by name, and who has no node. OutOfWork."""
        names = sorted(loss)
        point = self._start
        for name in names:
            point = self._planned(point, name, frozenset(names))
        return point.view, self._missed(point.view, guaranteed_only=False)

    def _from(self, point: _Point, loss: frozenset[str], guaranteed_only: bool) -> tuple[Stranded, ...]:
        todo = loss - point.planned
        if not todo:
            return self._missed(point.view, guaranteed_only=guaranteed_only)
        for name in sorted(todo):
            for more in _subsets(sorted(todo - point.lost - {name})):
                after = self._planned(point, name, point.lost | {name, *more})
                found = self._from(after, loss, guaranteed_only)
                if found:
                    return found
        return ()

    def _planned(self, point: _Point, name: str, lost: frozenset[str]) -> _Point:
        first = (name, lost) if point is self._start and len(lost) == 1 else None
        if first is not None and first in self._firsts:
            return self._firsts[first]
        self.work_left -= self._plan_costs
        if self.work_left < 0:
            raise OutOfWork
        view = _with_lost(point.view, lost)
        view = carried_out(view, plan_recovery(view, name))
        planned = point.planned | {name}
        if planned == lost and any(v.node is None and v.wants_to_run for v in view.vms):
            view = carried_out(view, plan_waiting(view))
        after = _Point(view, lost, planned)
        if first is not None:
            self._firsts[first] = after
        return after

    def _missed(self, view: ClusterView, *, guaranteed_only: bool) -> tuple[Stranded, ...]:
        gone = [v for v in view.vms if v.id in self._placed_before and v.node is None]
        return tuple(map(told, sorted((v for v in gone if is_guaranteed(v) or not guaranteed_only), key=_worst_first)))


def settled(view: ClusterView) -> ClusterView:
    """The view once everything that is lost now is planned, and what waits has a node if there is one.

    A VM that gives its node time to return may go elsewhere in the end, so it does here: no incident, no time.
    """
    view = replace(view, incidents=())
    for node in view.nodes:
        if node.state is not NodeState.ONLINE and any(v.node == node.name for v in view.vms):
            view = carried_out(view, plan_recovery(view, node.name))
    return carried_out(view, plan_waiting(view))


def carried_out(view: ClusterView, plan: RecoveryPlan) -> ClusterView:
    """The view after the plan was written."""
    places = {a.vm_id: a.node for a in plan.assigned}
    reasons = {u.vm_id: u.reason for u in plan.unplaced}
    released = {r.vm_id for r in plan.released}
    vms = []
    for vm in view.vms:
        if vm.id in places:
            vm = replace(
                vm, node=places[vm.id], generation=vm.generation + 1, migrating_to=None, unplaced_reason="",
                incident_id=vm.incident_id or (1 if plan.node else None),
            )  # fmt: skip
        elif vm.id in reasons:
            from_recovery = vm.incident_id or (1 if plan.node else None)
            vm = replace(vm, node=None, migrating_to=None, unplaced_reason=reasons[vm.id], incident_id=from_recovery)
        elif vm.id in released:
            vm = replace(vm, node=None, migrating_to=None)
        vms.append(vm)
    nodes = tuple(replace(n, state=NodeState.FENCED) if n.name == plan.node else n for n in view.nodes)
    return replace(view, nodes=nodes, vms=tuple(vms))


def is_guaranteed(vm: Vm) -> bool:
    """The promise is about these only."""
    return vm.ha.ha_class is HaClass.GUARANTEED


def told(vm: Vm) -> Stranded:
    """A VM without a node, for a report."""
    return Stranded(vm.id, vm.name, vm.memory_mib, is_guaranteed(vm), vm.unplaced_reason or "no plan gave it a node")


def waiting_now(view: ClusterView) -> tuple[Stranded, ...]:
    """The VMs that have no node as it is, the guaranteed ones first."""
    waiting = [v for v in view.vms if v.desired is Desired.RUNNING and v.wants_to_run and v.node is None]
    return tuple(map(told, sorted(waiting, key=_worst_first)))


def _worst_first(vm: Vm) -> tuple[bool, int, int]:
    return not is_guaranteed(vm), -vm.memory_mib, vm.id


def _with_lost(view: ClusterView, lost: frozenset[str]) -> ClusterView:
    nodes = tuple(
        replace(n, state=NodeState.LOST) if n.name in lost and n.state is NodeState.ONLINE else n for n in view.nodes
    )
    return replace(view, nodes=nodes)


def _subsets(names: list[str]) -> Iterable[tuple[str, ...]]:
    """None of them first, all of them last."""
    return chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))
