"""A fenced node that has cleaned itself may host again."""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import Conflict
from app.domain.node import NodeState
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.incidents import node_named


def rejoin_node(tx: Transaction, node: str, now: datetime) -> None:
    """FENCED -> ONLINE. Conflict while VMs are still assigned to it: its recovery is not planned then."""
    row = node_named(tx, node)
    if row.state is not NodeState.FENCED:
        return
    if tx.vms.where(node=node):
        raise Conflict(f"{node} still has VMs assigned to it and cannot rejoin")
    tx.nodes.save(replace(row, state=row.after("cleaned")))
    tx.events.add(ClusterEvent(0, now, "node.returned", f"{node} is clean and hosts again", node=node))
    emit_event(tx, "node.returned", {"node": node}, now)
