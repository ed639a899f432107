"""The coordinator writes down what a node is by both of its heartbeats: in its row, its open incident, and an event."""

from dataclasses import replace
from datetime import datetime

from app.domain.cluster import Step
from app.domain.node import NodeState
from app.domain.records import ClusterEvent
from app.domain.storage_heartbeat import KEEP_ENDED, NodeClass, last_word
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.epoch import hold_epoch
from app.services.incidents import add_steps, early_incident, node_named


def note_class(tx: Transaction, epoch: int, node: str, what: str, detail: str, now: datetime) -> None:
    """`what`: a NodeClass, or KEEP_ENDED. ISOLATED allows something: only a LOST node without a proof can be that."""
    hold_epoch(tx, epoch)
    row, incident = node_named(tx, node), early_incident(tx, node)
    if what == NodeClass.ISOLATED and (row.state is not NodeState.LOST or incident is None or incident.proof):
        return
    condition = row.condition if what == KEEP_ENDED else what
    changed = condition != row.condition
    if changed:
        tx.nodes.save(replace(row, condition=condition))
    told = incident is not None and last_word(incident) == what
    if incident is not None and what and not told:
        add_steps(tx, incident, [Step(now, what, detail, node=node)])
    if changed or (what == KEEP_ENDED and not told):
        text = f"{node} is {what or 'well'}: {detail}" if what != KEEP_ENDED else f"{node} is kept no more: {detail}"
        tx.events.add(ClusterEvent(0, now, _KINDS.get(what, "node.condition"), text, node=node))
    if changed and what in _KINDS:
        emit_event(tx, _KINDS[what], {"node": node, "detail": detail}, now)


_KINDS: dict[str, str] = {
    NodeClass.ISOLATED: "node.isolated", NodeClass.STORAGE_LOST: "node.storage_lost",
}  # fmt: skip
