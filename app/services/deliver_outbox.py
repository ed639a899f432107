"""Deliver what is due: one transaction to read, none while the network is asked, one to write down what came of it.

A crash in between delivers the same message again under the same id: at least once, and the receiver can tell.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.records import OutboxMessage, WebhookEndpoint
from app.ports.billing import Delivery, DeliveryResult
from app.ports.clock import Clock
from app.ports.store import Store, Transaction

#: a share of each delay that is drawn at random, so that a receiver that comes back is not flooded
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Due:
    """A message and where it goes."""

    message: OutboxMessage
    endpoint: WebhookEndpoint


def due_messages(tx: Transaction, now: datetime, limit: int) -> list[Due]:
    """What should be tried now, oldest first."""
    endpoints = {e.id: e for e in tx.endpoints.where(disabled=False)}
    waiting = tx.outbox.where(delivered_at=None, endpoint_id=tuple(endpoints))
    due = [m for m in waiting if m.next_try is not None and m.next_try <= now]
    return [Due(m, endpoints[m.endpoint_id]) for m in due[:limit]]


def record_delivery(
    tx: Transaction, message_id: int, result: DeliveryResult, delays_seconds: Sequence[float], now: datetime
) -> None:
    """Done, or when to try again. After the last delay it stays undelivered, without a next try, for a replay."""
    message = tx.outbox.get(message_id)
    if message is None or message.delivered_at is not None:
        return
    attempts = message.attempts + 1
    if result.delivered:
        tx.outbox.save(replace(message, attempts=attempts, delivered_at=now, next_try=None, last_error=""))
        return
    if result.gone:
        endpoint = tx.endpoints.get(message.endpoint_id)
        if endpoint is not None:
            tx.endpoints.save(replace(endpoint, disabled=True))
        tx.outbox.save(replace(message, attempts=attempts, next_try=None, last_error=result.error))
        return
    next_try = None
    if attempts < len(delays_seconds):
        delay = delays_seconds[attempts] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        next_try = now + timedelta(seconds=max(delay, result.retry_after_seconds or 0.0))
    tx.outbox.save(replace(message, attempts=attempts, next_try=next_try, last_error=result.error))


def deliver_due(
    store: Store, delivery: Delivery, clock: Clock, delays_seconds: Sequence[float], *, limit: int = 50
) -> int:
    """One round; returns how many were delivered. One process of the cluster does this: the coordinator's."""
    now = clock.utc()
    delivered = 0
    for one in store.run(lambda tx: due_messages(tx, now, limit)):
        result = delivery.deliver(one.message, one.endpoint, int(clock.utc().timestamp()))
        delivered += result.delivered
        _record(store, one.message.id, result, delays_seconds, clock.utc())
    return delivered


def _record(
    store: Store, message_id: int, result: DeliveryResult, delays_seconds: Sequence[float], now: datetime
) -> None:
    store.run(lambda tx: record_delivery(tx, message_id, result, delays_seconds, now))
