"""A fenced node that has cleaned itself may host again."""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import Conflict
from app.domain.node import NodeState
from app.domain.records import ClusterEvent
from app.domain.recovery import may_wait_for_its_node
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.incidents import node_named
from app.services.storage_cut import attest_clean


def rejoin_node(tx: Transaction, node: str, now: datetime) -> None:
    """FENCED -> ONLINE. Conflict while VMs are assigned to it that do not wait for it (it is not planned yet), and
    while it is quarantined.

    One that is cut off from its pools gets them back first: that is the coordinator's part. What waits for the node
    starts there as soon as it is ONLINE, in the generation that it has.
    """
    row = node_named(tx, node)
    if row.state is not NodeState.FENCED:
        return
    if not all(may_wait_for_its_node(vm) for vm in tx.vms.where(node=node)):
        raise Conflict(f"{node} still has VMs assigned to it and cannot rejoin")
    if row.quarantined_until is not None:
        raise Conflict(f"{node} is quarantined until {row.quarantined_until:%F %T} UTC and cannot rejoin before")
    if attest_clean(tx, row):
        return
    tx.nodes.save(replace(row, state=row.after("cleaned"), condition=""))
    tx.events.add(ClusterEvent(0, now, "node.returned", f"{node} is clean and hosts again", node=node))
    emit_event(tx, "node.returned", {"node": node}, now)
