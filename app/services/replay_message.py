"""Deliver an event once more, under the id it always had."""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import Conflict, NotFound
from app.domain.records import OutboxMessage
from app.ports.store import Transaction


def replay_message(tx: Transaction, message_id: int, now: datetime) -> OutboxMessage:
    """Due at once, with all its tries again. NotFound; Conflict when its endpoint is disabled or gone."""
    message = tx.outbox.get(message_id)
    if message is None:
        raise NotFound(f"there is no message {message_id} in the outbox")
    endpoint = tx.endpoints.get(message.endpoint_id)
    if endpoint is None or endpoint.disabled:
        raise Conflict(f"its webhook {message.endpoint_id} is disabled or gone; enable it first")
    again = replace(message, attempts=0, next_try=now, delivered_at=None, last_error="")
    tx.outbox.save(again)
    return again
