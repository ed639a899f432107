"""The rows of a storage fence: that a cut begins is written before it does, that it was undone after it was."""

from dataclasses import replace
from datetime import datetime

from app.domain.cluster import Step
from app.domain.errors import Conflict
from app.domain.node import Node, NodeState
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.epoch import hold_armed_epoch
from app.services.incidents import add_steps, early_incident, node_named

#: the step of an incident that says that a node is being cut off from its pools
CUT = "storage-cut"


def begin_cut(tx: Transaction, epoch: int, node: str, pools: tuple[str, ...], now: datetime) -> int:
    """Write that the node is being cut off from these pools; the token to do it with, higher than all before it.

    Higher than those of the row, which decides; and by the clock also than those of a row of that name that was
    forgotten, or that a backup knows nothing of. Conflict when the node is not lost any more, or proven already.
    """
    hold_armed_epoch(tx, epoch)
    row, incident = node_named(tx, node), early_incident(tx, node)
    if row.state is not NodeState.LOST or incident is None or incident.proof is not None:
        raise Conflict(f"{node} is not to be fenced any more")
    known = set(row.storage_cut)
    token = max(row.storage_token + 1, int(now.timestamp() * 1000))
    tx.nodes.save(replace(row, storage_cut=tuple(sorted(known | set(pools))), storage_token=token, cleaned=False))
    if not set(pools) <= known:
        add_steps(tx, incident, [Step(now, CUT, f"access to {', '.join(pools)} is being taken from it", node=node)])
    return token


def may_restore(tx: Transaction, epoch: int, node: str) -> None:
    """Conflict when others may have its VMs: it is fenced and has not cleaned itself, or it is lost and proven."""
    hold_armed_epoch(tx, epoch)
    row, incident = node_named(tx, node), early_incident(tx, node)
    lost = row.state is NodeState.LOST and incident is not None and incident.proof is not None
    if lost or (row.state is NodeState.FENCED and not row.cleaned):
        raise Conflict(f"{node} does not get its storage back now: it is {row.state.value} and not clean")


def end_cut(tx: Transaction, epoch: int, node: str, token: int, now: datetime) -> None:
    """Write that the node has its pools again; nothing when it was cut off anew since."""
    hold_armed_epoch(tx, epoch)
    row = node_named(tx, node)
    if row.storage_token != token or not row.storage_cut:
        return
    tx.nodes.save(replace(row, storage_cut=(), cleaned=False))
    text = f"{node} has access to {', '.join(row.storage_cut)} again"
    tx.events.add(ClusterEvent(0, now, "node.storage-restored", text, node=node))


def attest_clean(tx: Transaction, row: Node) -> bool:
    """The node's agent has seen that nothing of before runs there. True when it must wait for its storage."""
    if row.storage_cut and not row.cleaned:
        tx.nodes.save(replace(row, cleaned=True))
    return bool(row.storage_cut)
