"""Losses by brute force, for the tests of capacity: every order of events, with the planner of the recovery.

It shares no code with `app.domain.capacity*`: what is wrong there must not be wrong here in the same way.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, permutations

from app.domain.cluster import ClusterView
from app.domain.node import NodeRole, NodeState
from app.domain.policy import HaClass
from app.domain.recovery import RecoveryPlan, plan_recovery, plan_waiting


def write(view: ClusterView, plan: RecoveryPlan) -> ClusterView:
    """What `commit_plan` does to the rows."""
    rows = {v.id: v for v in view.vms}
    part_of = 7 if plan.node else None
    for a in plan.assigned:
        old = rows[a.vm_id]
        rows[a.vm_id] = replace(old, node=a.node, generation=a.generation, incident_id=part_of or old.incident_id)
    for u in plan.unplaced:
        old = rows[u.vm_id]
        rows[u.vm_id] = replace(old, node=None, generation=u.generation, incident_id=part_of or old.incident_id)
    for r in plan.released:
        rows[r.vm_id] = replace(rows[r.vm_id], node=None, generation=r.generation)
    return replace(view, vms=tuple(rows.values()))


def set_state(view: ClusterView, name: str, state: NodeState) -> ClusterView:
    return replace(view, nodes=tuple(replace(n, state=state) if n.name == name else n for n in view.nodes))


def orders(names: tuple[str, ...]) -> Iterator[tuple[tuple[str, str], ...]]:
    """Each interleaving of every node's loss and, later, its plan."""
    events = [(what, name) for name in names for what in ("lost", "plan")]
    for order in permutations(events):
        if all(order.index(("lost", n)) < order.index(("plan", n)) for n in names):
            yield order


def happens(view: ClusterView, order: tuple[tuple[str, str], ...]) -> ClusterView:
    """The cluster after all of it; VMs that wait are tried whenever no plan is due."""
    lost: set[str] = set()
    for what, name in order:
        if what == "lost":
            lost.add(name)
            view = set_state(view, name, NodeState.LOST)
        else:
            lost.discard(name)
            view = set_state(write(view, plan_recovery(view, name)), name, NodeState.FENCED)
            if not lost:
                view = write(view, plan_waiting(view))
    return view


def stranded_ids(before: ClusterView, after: ClusterView, *, guaranteed_only: bool = True) -> set[int]:
    had = {v.id for v in before.vms if v.wants_to_run and v.node is not None}
    return {
        v.id
        for v in after.vms
        if v.id in had and v.node is None and (v.ha.ha_class is HaClass.GUARANTEED or not guaranteed_only)
    }


def bad_losses(view: ClusterView, failures: int) -> list[tuple[str, ...]]:
    """The losses of exactly so many nodes that strand a guaranteed VM in some order."""
    hosts = {v.node for v in view.vms}
    up = sorted(
        n.name
        for n in view.nodes
        if n.state is NodeState.ONLINE and (n.role is not NodeRole.WITNESS or n.name in hosts)
    )
    return [
        names
        for names in combinations(up, failures)
        if any(stranded_ids(view, happens(view, order)) for order in orders(names))
    ]
