"""An operator's word that a node is dead, for when no device and no clock can prove it."""

from datetime import datetime

from app.domain.cluster import Step
from app.domain.errors import Conflict, InvalidInput
from app.domain.fencing import CONFIRMED
from app.domain.node import NodeState
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.find_node import find_node
from app.services.incidents import add_steps, early_incident


def confirm_dead(tx: Transaction, name: str, by: str, why: str, members: frozenset[str], now: datetime) -> None:
    """Write the word into the node's incident. The coordinator takes it for a proof, unless it sees the node.

    NotFound; InvalidInput without a reason; Conflict when it is in `members`, not lost, or proven already.
    """
    node = find_node(tx, name)
    if not why.strip():
        raise InvalidInput("reason", "say how you know that it is dead: this is kept with the incident")
    if name in members:
        raise Conflict(f"{name} is a member of the cluster right now: it is alive, and its VMs run on it")
    if node.state is not NodeState.LOST:
        said = "its VMs have been recovered" if node.state is NodeState.FENCED else "the cluster has not lost it"
        raise Conflict(f"{name} is {node.state.value}: {said}")
    incident = early_incident(tx, name)
    if incident is None:
        raise Conflict(f"the incident of {name} is not written yet; try again in a moment")
    if incident.proof is not None:
        raise Conflict(f"{name} is proven dead already, by {incident.proof.method}")
    add_steps(tx, incident, [Step(now, CONFIRMED, f"{by}: {why.strip()}", node=name)])
    text = f"{by} confirms that {name} is dead: {why.strip()}"
    tx.events.add(ClusterEvent(0, now, "node.confirmed-dead", text, node=name))
