"""Freeze all automation of the whole cluster, and let it go on: what an operator does before work on the network.

Disarmed, nothing is fenced, planned, moved or started again by itself. What keeps a VM from running twice stays: a node
without quorum pauses and destroys its VMs, a stale copy is destroyed, a watchdog that is not fed resets its node. For
an isolated node cannot learn that the cluster was armed again. What customers ask for is done all the same.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.cluster_settings import ClusterSettings
from app.domain.errors import InvalidInput
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.load_view import current_settings


def disarm_cluster(tx: Transaction, by: str, reason: str, now: datetime) -> ClusterSettings:
    """Said twice, the first one's name and reason stay. InvalidInput without a reason: others must know why."""
    old = current_settings(tx)
    if not reason.strip():
        raise InvalidInput("reason", "say why: everybody else sees this reason while the cluster is disarmed")
    if not old.armed:
        return old
    new = replace(old, armed=False, disarmed_by=by, disarmed_reason=reason.strip(), disarmed_at=now)
    tx.settings.save(new)
    _tell(tx, "cluster.disarmed", f"automation is disarmed by {by}: {new.disarmed_reason}", by, now)
    return new


def arm_cluster(tx: Transaction, by: str, now: datetime) -> ClusterSettings:
    """Automation goes on by level: what became necessary meanwhile is done now."""
    old = current_settings(tx)
    if old.armed:
        return old
    new = replace(old, armed=True, disarmed_by="", disarmed_reason="", disarmed_at=None)
    tx.settings.save(new)
    _tell(tx, "cluster.armed", f"automation is armed again by {by}", by, now)
    return new


def lift_storm_guard(tx: Transaction, by: str, seconds: float, now: datetime) -> ClusterSettings:
    """The storm guard holds no fence for so long; 0 puts it back at once."""
    until = now + timedelta(seconds=seconds) if seconds > 0 else None
    new = replace(current_settings(tx), storm_lifted_until=until)
    tx.settings.save(new)
    text = (
        f"the storm guard is lifted by {by} until {until:%F %T} UTC" if until else f"the storm guard is back, by {by}"
    )
    tx.events.add(ClusterEvent(0, now, "storm_guard.lifted" if until else "storm_guard.back", text))
    return new


def _tell(tx: Transaction, kind: str, text: str, by: str, now: datetime) -> None:
    tx.events.add(ClusterEvent(0, now, kind, text))
    emit_event(tx, kind, {"by": by, "text": text}, now)
