"""Values of the domain as operators see them: the domain's own words, with what follows from them."""

from dataclasses import asdict
from typing import Any

from app.domain.cluster import Incident, Step
from app.domain.placement import Load
from app.domain.records import OutboxMessage, Token, WebhookEndpoint
from app.domain.vm import Vm, status_of

Json = dict[str, Any]


def plain(row: Any) -> Json:
    """A flat record: its fields, times as ISO 8601."""
    return {k: v.isoformat() if hasattr(v, "isoformat") else v for k, v in asdict(row).items()}


def node(load: Load) -> Json:
    """A node and what it carries. `vms` and memory count what is wanted running there."""
    return {
        **plain(load.node),
        "role": load.node.role.value,
        "state": load.node.state.value,
        "losses": [at.isoformat() for at in load.node.losses],
        "vms": load.vms,
        "memory_used_mib": load.memory_used_mib,
        "memory_free_mib": load.memory_free_mib,
    }


def step(row: Step) -> Json:
    """One step of an incident."""
    return plain(row)


def incident(row: Incident, *, whole: bool) -> Json:
    """With all its steps only where one incident is asked for."""
    shown = {
        "id": row.id,
        "node": row.node,
        "phase": row.phase.value,
        "opened_at": row.opened_at.isoformat(),
        "closed_at": row.closed_at.isoformat() if row.closed_at else None,
        "proof": asdict(row.proof) if row.proof else None,
        "outcome": row.outcome,
        "steps_total": len(row.steps),
    }
    return {**shown, "steps": [step(s) for s in row.steps]} if whole else shown


def vm(row: Vm) -> Json:
    """What is wanted, what was seen, and what follows. The user data stay the customer's."""
    shown = plain(row)
    del shown["user_data"]
    seen = row.observed
    return {
        **shown,
        "desired": row.desired.value,
        "stop_mode": row.stop_mode.value,
        "reset_mode": row.reset_mode.value,
        "failed_nodes": list(row.failed_nodes),
        "status": status_of(row).value,
        "migration": plain(row.migration),
        "verified": row.verified,
        "observed": {**plain(seen), "power": seen.power.value},
    }


def token(row: Token) -> Json:
    """Without its hash."""
    shown = plain(row)
    del shown["sha256"]
    return shown


def endpoint(row: WebhookEndpoint) -> Json:
    """Without its secret, which only the answer to its creation has."""
    shown = plain(row)
    del shown["secret"]
    return {**shown, "events": list(row.events)}


def message(row: OutboxMessage) -> Json:
    """One delivery; `next_try` null and not delivered: given up, until it is replayed."""
    return plain(row)
