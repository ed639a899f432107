"""An operator tries an endpoint: one event, one try, by the same way as all others."""

import secrets
from datetime import datetime

from app.domain.errors import Conflict
from app.domain.records import OutboxMessage
from app.ports.store import Transaction
from app.services.emit_event import TEST, event_body
from app.services.save_endpoint import find_endpoint


def try_endpoint(tx: Transaction, endpoint_id: int, by: str, now: datetime) -> OutboxMessage:
    """The message that the coordinator delivers now, once; `delivered_at` or `last_error` then say what came of it.

    NotFound; Conflict for one that is disabled.
    """
    endpoint = find_endpoint(tx, endpoint_id)
    if endpoint.disabled:
        raise Conflict(f"the endpoint {endpoint_id} is disabled: it is told nothing")
    text = "this is a test: whoever reads it hears of this cluster"
    body = event_body(TEST, {"by": by, "text": text}, now)
    webhook_id = f"msg_{secrets.token_urlsafe(18)}"
    return tx.outbox.add(OutboxMessage(0, endpoint_id, webhook_id, TEST, body, now, next_try=now))
