"""Tell the outside: one outbox row for each endpoint that wants it, in the transaction of what it tells."""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime

from app.domain.records import OutboxMessage
from app.ports.store import Transaction

#: all that can be subscribed to
KINDS = (
    "vm.started", "vm.stopped", "vm.recovered", "vm.unplaced", "vm.deleted", "node.failed", "node.returned",
    "path.switched", "vm.crashed", "vm.panicked", "vm.hung", "vm.disk_failed", "vm.restarted", "vm.io_error",
    "node.quarantined", "node.released", "node.isolated", "node.storage_lost", "storm_guard.held",
    "fence_device.failed", "fence_device.recovered", "cluster.disarmed", "cluster.armed", "cluster.still_disarmed",
    "incident.closed",
)  # fmt: skip
#: sent to one endpoint when an operator asks for it, and tried once
TEST = "notify.test"
#: Standard Webhooks 1.0.0 asks for less than 20 kB
_BODY_MAX_BYTES = 20_000
_KEEP_CHARACTERS = (4000, 1000, 250, 60)


def emit_event(
    tx: Transaction, kind: str, data: Mapping[str, object], now: datetime, project_id: int | None = None
) -> None:
    """Standard Webhooks 1.0.0: body {type, timestamp, data}; the id is made here and stays the same over all tries.

    An endpoint of a project hears of that project's VMs; one without a project (an operator's) of everything.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no event {kind}")
    body = event_body(kind, data, now)
    for endpoint in tx.endpoints.where(disabled=False):
        if endpoint.project_id not in (None, project_id) or (endpoint.events and kind not in endpoint.events):
            continue
        webhook_id = f"msg_{secrets.token_urlsafe(18)}"
        tx.outbox.add(OutboxMessage(0, endpoint.id, webhook_id, kind, body, now, next_try=now))


def event_body(kind: str, data: Mapping[str, object], now: datetime) -> str:
    """The JSON. Texts in `data` are shortened until it fits: telling must not undo what it tells."""
    for keep in (None, *_KEEP_CHARACTERS):
        short = {key: value[:keep] if isinstance(value, str) else value for key, value in data.items()}
        body = json.dumps({"type": kind, "timestamp": now.isoformat(), "data": short}, separators=(",", ":"))
        if len(body) < _BODY_MAX_BYTES:  # json.dumps writes ASCII only
            return body
    raise ValueError(f"the data of an event {kind} does not fit into {_BODY_MAX_BYTES} bytes")
