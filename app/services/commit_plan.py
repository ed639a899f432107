"""Write a recovery plan in one transaction: node FENCED, VMs with new nodes and generations, the unplaced list."""

from dataclasses import replace
from datetime import datetime

from app.domain.cluster import Incident, Step
from app.domain.errors import Conflict
from app.domain.node import NodeState
from app.domain.records import ClusterEvent
from app.domain.recovery import Assignment, RecoveryPlan, Stays, Unplaced
from app.domain.vm import PowerSeen, Vm, no_longer_moving
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.epoch import hold_armed_epoch
from app.services.incidents import add_steps, early_incident, node_named


def commit_plan(tx: Transaction, epoch: int, plan: RecoveryPlan, now: datetime) -> None:
    """All of it or nothing. A VM that has changed under the plan makes it Conflict: plan again on a new view.

    A plan for a node needs that node's proof in its incident; without one this raises and writes nothing.
    """
    hold_armed_epoch(tx, epoch)
    incident = _fenced_incident(tx, plan.node) if plan.node else None
    steps = [_assign(tx, plan, a, incident, now) for a in plan.assigned]
    steps += [s for u in plan.unplaced if (s := _strand(tx, plan, u, incident, now))]
    steps += [_leave(tx, plan, s, incident, now) for s in plan.stays]
    for gone in plan.released:
        vm = _expect(tx, gone.vm_id, gone.generation, plan.node)
        tx.vms.save(replace(no_longer_moving(vm), node=None, generation=gone.generation))
    if incident is not None:
        node = node_named(tx, plan.node)
        if node.state is NodeState.LOST:
            tx.nodes.save(replace(node, state=node.after("fenced"), cleaned=False))
        planned = f"{len(plan.assigned)} VMs assigned, {len(plan.unplaced)} unplaced, {len(plan.released)} left off"
        planned += f", {len(plan.stays)} wait for {plan.node}" if plan.stays else ""
        started = replace(incident, phase=incident.after("planned"))
        add_steps(tx, started, [Step(now, "planned", planned, node=plan.node), *steps])


def _fenced_incident(tx: Transaction, node: str) -> Incident:
    incident = early_incident(tx, node)
    if incident is None or incident.proof is None:
        raise Conflict(f"there is no proof that {node} is fenced: its VMs are not moved")
    return incident


def _expect(tx: Transaction, vm_id: int, generation: int, node: str | None) -> Vm:
    """The VM as the plan saw it: its new generation must be the next one still."""
    vm = tx.vms.get(vm_id)
    if vm is None or vm.next_generation != generation or (node and vm.node != node):
        raise Conflict(f"VM {vm_id} has changed since the plan was made")
    return vm


def _assign(tx: Transaction, plan: RecoveryPlan, a: Assignment, incident: Incident | None, now: datetime) -> Step:
    vm = _expect(tx, a.vm_id, a.generation, plan.node or None)
    if not plan.node and vm.node is not None and not _may_leave(tx, vm, vm.node):
        raise Conflict(f"{vm.node} has not given up VM {vm.id} any more: it stays there")
    node = node_named(tx, a.node)
    if node.state is not NodeState.ONLINE:
        raise Conflict(f"{a.node} is {node.state.value} now: plan again")
    if node.leaving:
        raise Conflict(f"{a.node} is being shut down now: plan again")
    if node.quarantined_until is not None:
        raise Conflict(f"{a.node} is quarantined now: plan again")
    tx.nodes.save(replace(node, placements=node.placements + 1))
    failed = vm.failed_nodes
    if vm.given_up and vm.node:
        failed = (*failed, vm.node)
    part_of = incident.id if incident else vm.incident_id
    home = "" if vm.home == a.node else vm.home or plan.node or (vm.node or "" if not vm.given_up else "")
    moved = replace(no_longer_moving(vm), node=a.node, generation=a.generation, unplaced_reason="", failed_nodes=failed)
    cause = f"incident-{part_of}" if part_of is not None else vm.correlation_id
    tx.vms.save(replace(moved, incident_id=part_of, home=home, correlation_id=cause))
    step = Step(now, "assigned", a.why, vm_id=vm.id, node=a.node)
    if incident is None:
        _write_down(tx, vm, part_of, step)
    return step


def _write_down(tx: Transaction, vm: Vm, part_of: int | None, step: Step) -> None:
    """Outside of a recovery's own plan: in the incident that the VM is still part of, else as an event."""
    old = tx.incidents.get(part_of) if part_of is not None else None
    if old is not None:
        add_steps(tx, old, [step])
        return
    came = f" from {vm.node}, which gave it up" if vm.node else ""
    text = f"{vm.name} to {step.node}{came}: {step.detail}"
    tx.events.add(ClusterEvent(0, step.at, "vm.placed", text, node=step.node, vm_id=vm.id))


def _may_leave(tx: Transaction, vm: Vm, node: str) -> bool:
    """A VM leaves a node that is online and has promised not to start it; or one that is fenced, and has not been let
    in again, where it waited for that.
    """
    state = node_named(tx, node).state
    return state is NodeState.FENCED or (vm.given_up and state is NodeState.ONLINE)


def _leave(tx: Transaction, plan: RecoveryPlan, s: Stays, incident: Incident | None, now: datetime) -> Step:
    """It keeps its node and generation. What was seen of it there is over, whatever became of it."""
    vm = tx.vms.get(s.vm_id)
    if vm is None or vm.generation != s.generation or vm.node != plan.node:
        raise Conflict(f"VM {s.vm_id} has changed since the plan was made")
    observed = replace(vm.observed, power=PowerSeen.UNKNOWN, verified_at=None)
    part_of = incident.id if incident and not vm.local else vm.incident_id
    tx.vms.save(replace(no_longer_moving(vm), unplaced_reason=s.reason, observed=observed, incident_id=part_of))
    emit_event(tx, "vm.unplaced", {"vm": vm.id, "name": vm.name, "reason": s.reason}, now, vm.project_id)
    return Step(now, "waits", s.reason, vm_id=vm.id, node=plan.node)


def _strand(tx: Transaction, plan: RecoveryPlan, u: Unplaced, incident: Incident | None, now: datetime) -> Step | None:
    vm = tx.vms.get(u.vm_id)
    if vm is None or u.generation not in (vm.generation, vm.next_generation) or (plan.node and vm.node != plan.node):
        raise Conflict(f"VM {u.vm_id} has changed since the plan was made")
    if not plan.node and vm.node is not None and not _may_leave(tx, vm, vm.node):
        raise Conflict(f"{vm.node} hosts again: VM {vm.id} stays there")
    part_of = incident.id if incident else vm.incident_id
    stranded = replace(no_longer_moving(vm), node=None, generation=u.generation, unplaced_reason=u.reason)
    tx.vms.save(replace(stranded, incident_id=part_of))
    if incident is not None:
        emit_event(tx, "vm.unplaced", {"vm": vm.id, "name": vm.name, "reason": u.reason}, now, vm.project_id)
    elif vm.node is not None:
        text = f"{vm.name} has no node any more, {vm.node} did not return in time: {u.reason}"
        tx.events.add(ClusterEvent(0, now, "vm.unplaced", text, node=vm.node, vm_id=vm.id))
    return Step(now, "unplaced", u.reason, vm_id=vm.id)
