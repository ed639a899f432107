"""Write down that a node's API was told that the agent there is silent."""

from datetime import datetime

from app.domain.cluster import Step
from app.domain.records import ClusterEvent
from app.domain.soft_fence import SOFT_FENCED
from app.ports.store import Transaction
from app.services.epoch import hold_armed_epoch
from app.services.incidents import add_steps, early_incident
from app.services.soft_fence_steps import SOFT_FENCE_EVENT


def note_soft_fence(tx: Transaction, epoch: int, node: str, text: str, now: datetime) -> None:
    """An event, and a step where the incident is open already."""
    hold_armed_epoch(tx, epoch)
    tx.events.add(ClusterEvent(0, now, SOFT_FENCE_EVENT, f"{node}: {text}", node=node))
    incident = early_incident(tx, node)
    if incident is not None:
        add_steps(tx, incident, [Step(now, SOFT_FENCED, text, node=node)])
