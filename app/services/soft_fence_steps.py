"""What was tried softly before an incident belongs into it."""

from datetime import datetime, timedelta

from app.domain.cluster import Step
from app.domain.soft_fence import SOFT_FENCED
from app.ports.store import Transaction

#: the kind of the event
SOFT_FENCE_EVENT = f"agent.{SOFT_FENCED}"
_BELONGS = timedelta(seconds=120)


def soft_fences_before(tx: Transaction, node: str, now: datetime) -> list[Step]:
    """Those of the last two minutes, as steps of the incident that begins now."""
    told = [e for e in tx.events.where(kind=SOFT_FENCE_EVENT, node=node) if e.at >= now - _BELONGS]
    return [Step(e.at, SOFT_FENCED, e.text.removeprefix(f"{node}: "), node=node) for e in told]
