"""The coordinator's writes on the loss of a node. Each holds the epoch first, and each can be repeated."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.cluster import Incident, IncidentPhase, Proof, Step
from app.domain.node import Node, NodeState
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.epoch import hold_epoch


def node_named(tx: Transaction, name: str) -> Node:
    """The row of that node. KeyError if there is none: the caller had it in its view."""
    rows = tx.nodes.where(name=name)
    if not rows:
        raise KeyError(name)
    return rows[0]


def early_incident(tx: Transaction, node: str) -> Incident | None:
    """The node's incident that is not planned yet."""
    rows = tx.incidents.where(node=node, phase=(IncidentPhase.FENCING, IncidentPhase.PLANNING))
    return rows[-1] if rows else None


def add_steps(tx: Transaction, incident: Incident, steps: Iterable[Step]) -> Incident:
    """Write the steps down and return the incident with them."""
    longer = replace(incident, steps=(*incident.steps, *steps))
    tx.incidents.save(longer)
    return longer


def open_incident(tx: Transaction, epoch: int, node: str, detected_seconds_ago: float, now: datetime) -> None:
    """Mark the node LOST and write its incident. From here on its agent starts nothing, if it still can read."""
    hold_epoch(tx, epoch)
    row = node_named(tx, node)
    if row.state is NodeState.ONLINE:
        tx.nodes.save(replace(row, state=row.after("absent")))
    if row.state is NodeState.FENCED or early_incident(tx, node) is not None:
        return
    detected = now - timedelta(seconds=detected_seconds_ago)
    steps = (Step(detected, "detected", "Corosync lost the node", node=node), Step(now, "opened", node=node))
    tx.incidents.add(Incident(0, node, IncidentPhase.FENCING, detected, steps=steps))
    emit_event(tx, "node.failed", {"node": node, "detected": detected.isoformat()}, now)


def cancel_incident(tx: Transaction, epoch: int, node: str, now: datetime) -> None:
    """The node came back before any proof: it may go on with what it has."""
    hold_epoch(tx, epoch)
    row, incident = node_named(tx, node), early_incident(tx, node)
    if row.state is not NodeState.LOST or (incident is not None and incident.proof is not None):
        return
    tx.nodes.save(replace(row, state=row.after("returned")))
    if incident is not None:
        closed = replace(incident, phase=IncidentPhase.CLOSED, closed_at=now, outcome="returned before it was fenced")
        add_steps(tx, closed, [Step(now, "cancelled", "the node is back, no proof was had", node=node)])
    emit_event(tx, "node.returned", {"node": node}, now)


def record_proof(tx: Transaction, epoch: int, node: str, proof: Proof, now: datetime) -> None:
    """Store the first proof; a second one changes nothing."""
    hold_epoch(tx, epoch)
    incident = early_incident(tx, node)
    if incident is None or incident.proof is not None:
        return
    proven = replace(incident, proof=proof, phase=IncidentPhase.PLANNING)
    add_steps(tx, proven, [Step(now, "fenced", f"{proof.method}: {proof.saw}", node=node)])


def note_step(tx: Transaction, epoch: int, node: str, what: str, detail: str, now: datetime) -> None:
    """Write a step into the incident that is not planned yet."""
    hold_epoch(tx, epoch)
    incident = early_incident(tx, node)
    if incident is not None:
        add_steps(tx, incident, [Step(now, what, detail, node=node)])


def close_incident(tx: Transaction, epoch: int, incident_id: int, now: datetime) -> None:
    """Everything runs again, or is no longer wanted. Nothing is written if one has gone down since that was seen."""
    hold_epoch(tx, epoch)
    incident = tx.incidents.get(incident_id)
    if incident is None or incident.phase is not IncidentPhase.STARTING:
        return
    vms = tx.vms.where(incident_id=incident_id)
    if any(v.wants_to_run and not v.verified for v in vms):
        return
    for vm in vms:
        tx.vms.save(replace(vm, incident_id=None))
    outcome = f"{sum(v.verified for v in vms)} VMs verified up"
    closed = replace(incident, phase=IncidentPhase.CLOSED, closed_at=now, outcome=outcome)
    add_steps(tx, closed, [Step(now, "closed", outcome, node=incident.node)])
