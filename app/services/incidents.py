"""The coordinator's writes on the loss of a node. Each holds the epoch first, and each can be repeated."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.cluster import Incident, IncidentPhase, Proof, Step
from app.domain.fencing import VOID
from app.domain.node import Node, NodeState
from app.domain.records import ClusterEvent
from app.domain.storm_guard import HELD
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.epoch import hold_armed_epoch, hold_epoch
from app.services.quarantine import note_loss
from app.services.soft_fence_steps import soft_fences_before


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


def open_incident(
    tx: Transaction, epoch: int, node: str, detected_seconds_ago: float, now: datetime, *, silent: bool = False
) -> None:
    """Mark the node LOST and write its incident. From here on its agent starts nothing, if it still can read.

    `silent`: Corosync sees the node, and its agent says nothing.
    """
    hold_armed_epoch(tx, epoch)
    row = node_named(tx, node)
    if row.state is NodeState.ONLINE:
        tx.nodes.save(note_loss(tx, replace(row, state=row.after("absent")), now))
    if row.state is NodeState.FENCED or early_incident(tx, node) is not None:
        return
    detected = now - timedelta(seconds=detected_seconds_ago)
    why = "its agent is silent, and Corosync sees the node" if silent else "Corosync lost the node"
    seen = [Step(detected, "detected", why, node=node), *soft_fences_before(tx, node, now)]
    steps = (*sorted(seen, key=lambda s: s.at), Step(now, "opened", node=node))
    tx.incidents.add(Incident(0, node, IncidentPhase.FENCING, detected, steps=steps))
    emit_event(tx, "node.failed", {"node": node, "detected": detected.isoformat()}, now)


def cancel_incident(tx: Transaction, epoch: int, node: str, now: datetime) -> None:
    """The node came back before any proof: it may go on with what it has, its storage included."""
    hold_armed_epoch(tx, epoch)
    row, incident = node_named(tx, node), early_incident(tx, node)
    if row.state is not NodeState.LOST or row.storage_cut or (incident is not None and incident.proof is not None):
        return
    tx.nodes.save(replace(row, state=row.after("returned"), condition=""))
    if incident is not None:
        closed = replace(
            incident, phase=incident.after("returned"), closed_at=now, outcome="returned before it was fenced"
        )
        add_steps(tx, closed, [Step(now, "cancelled", "the node is back, no proof was had", node=node)])
    emit_event(tx, "node.returned", {"node": node}, now)


def record_proof(tx: Transaction, epoch: int, node: str, proof: Proof, now: datetime) -> None:
    """Store the first proof; a second one changes nothing."""
    hold_armed_epoch(tx, epoch)
    incident = early_incident(tx, node)
    if incident is None or incident.proof is not None:
        return
    proven = replace(incident, proof=proof, phase=incident.after("proven"))
    add_steps(tx, proven, [Step(now, "fenced", f"{proof.method}: {proof.saw}", node=node)])


def void_proof(tx: Transaction, epoch: int, node: str, method: str, why: str, now: datetime) -> None:
    """Take a false proof back, and say so: its method is believed no more in this incident."""
    hold_armed_epoch(tx, epoch)
    incident = early_incident(tx, node)
    if incident is None or incident.proof is None or incident.proof.method != method:
        return
    void = replace(incident, proof=None, phase=incident.after("void"))
    text = f"{method}: {why}"
    add_steps(tx, void, [Step(now, VOID, text, node=node)])
    tx.events.add(
        ClusterEvent(0, now, "fence.false-proof", f"the proof that {node} is off was false: {text}", node=node)
    )
    emit_event(tx, "fence_device.failed", {"node": node, "method": method, "error": f"false proof: {why}"}, now)


def hold_fence(tx: Transaction, epoch: int, node: str, why: str, now: datetime) -> None:
    """The storm guard holds this fence: written once in each incident."""
    hold_armed_epoch(tx, epoch)
    incident = early_incident(tx, node)
    if incident is None or any(s.what == HELD for s in incident.steps):
        return
    add_steps(tx, incident, [Step(now, HELD, why, node=node)])
    tx.events.add(ClusterEvent(0, now, "storm_guard.held", f"{node} is not fenced: {why}", node=node))
    emit_event(tx, "storm_guard.held", {"node": node, "reason": why}, now)


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
    closed = replace(incident, phase=incident.after("finished"), closed_at=now, outcome=outcome)
    add_steps(tx, closed, [Step(now, "closed", outcome, node=incident.node)])
    took = round((now - incident.opened_at).total_seconds(), 3)
    data = {"node": incident.node, "incident": incident_id, "outcome": outcome, "took_seconds": took}
    emit_event(tx, "incident.closed", data, now)
