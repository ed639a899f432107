"""Deliver what is due: one transaction to read, none while the network is asked, one to write down what came of it.

A crash in between delivers the same message again under the same id: at least once, and the receiver can tell.

No endpoint waits for another: each has a thread of its own, and a backlog of one does not crowd out the rest. One that
fails is left alone for the rest of the round. Older messages go first; the order is not promised, a retry comes later.
"""

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.domain.records import OutboxMessage, WebhookEndpoint
from app.ports.billing import Delivery, DeliveryResult
from app.ports.clock import Clock
from app.ports.store import Store, Transaction
from app.services.emit_event import TEST

#: a share of each delay that is drawn at random, so that a receiver that comes back is not flooded
JITTER = 0.1
#: a receiver that asks for more is tried again after this all the same
RETRY_AFTER_SECONDS_MAX = 86_400.0
_THREADS_MAX = 8
#: after this no further message goes to the same endpoint in this round, so that a round ends
_ENDPOINT_SECONDS_MAX = 5.0
_ENDPOINTS_PAGES_MAX = 10
_POSTPONED_MAX = 200


@dataclass(frozen=True, slots=True)
class Due:
    """A message and where it goes."""

    message: OutboxMessage
    endpoint: WebhookEndpoint


def due_messages(tx: Transaction, now: datetime, limit: int) -> list[Due]:
    """What should be tried now, the longest due first: up to `limit` for a first group of endpoints, then for more."""
    endpoints = {e.id: e for e in tx.endpoints.where(disabled=False)}
    left, found = set(endpoints), list[OutboxMessage]()
    for _ in range(_ENDPOINTS_PAGES_MAX):
        messages = _oldest_due(tx, tuple(left), now, limit) if left else []
        found += messages
        left -= {m.endpoint_id for m in messages}
        if len(messages) < limit:
            break
    return [Due(m, endpoints[m.endpoint_id]) for m in found]


def record_delivery(
    tx: Transaction, message_id: int, result: DeliveryResult, delays_seconds: Sequence[float], now: datetime
) -> None:
    """Done, or when to try again. After the last delay it stays undelivered, without a next try, for a replay.

    `delays_seconds[n]` is waited before try n + 1, so the first one belongs to the try that has no failure before it.
    A receiver that named a time (Retry-After) gets none of its other messages before it.
    """
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
    asked_seconds = min(result.retry_after_seconds or 0.0, RETRY_AFTER_SECONDS_MAX)
    next_try = None
    if attempts < len(delays_seconds) and message.kind != TEST:
        delay = delays_seconds[attempts] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
        next_try = now + timedelta(seconds=max(delay, asked_seconds))
    tx.outbox.save(replace(message, attempts=attempts, next_try=next_try, last_error=result.error))
    if asked_seconds > 0:
        _postpone(tx, message.endpoint_id, now + timedelta(seconds=asked_seconds))


def deliver_due(
    store: Store, delivery: Delivery, clock: Clock, delays_seconds: Sequence[float], *, limit: int = 50
) -> int:
    """One round; returns how many were delivered. One process of the cluster does this: the coordinator's.

    It lasts as long as the slowest endpoint: one time-out of the plugin and a few seconds at most.
    """
    now = clock.utc()
    by_endpoint: dict[int, list[Due]] = {}
    for one in store.run(lambda tx: due_messages(tx, now, limit)):
        by_endpoint.setdefault(one.endpoint.id, []).append(one)
    if not by_endpoint:
        return 0

    def deliver_to(due: Sequence[Due]) -> int:
        return _deliver_to(due, store, delivery, clock, delays_seconds)

    with ThreadPoolExecutor(min(_THREADS_MAX, len(by_endpoint)), "holdfast-delivery") as threads:
        return sum(threads.map(deliver_to, by_endpoint.values()))


def _deliver_to(
    due: Sequence[Due], store: Store, delivery: Delivery, clock: Clock, delays_seconds: Sequence[float]
) -> int:
    until = clock.monotonic() + _ENDPOINT_SECONDS_MAX
    delivered = 0
    for one in due:
        result = _try(delivery, one, int(clock.utc().timestamp()))
        _record(store, one.message.id, result, delays_seconds, clock.utc())
        delivered += result.delivered
        if not result.delivered or clock.monotonic() > until:
            break
    return delivered


def _try(delivery: Delivery, due: Due, at_unix: int) -> DeliveryResult:
    try:
        return delivery.deliver(due.message, due.endpoint, at_unix)
    except Exception as error:  # noqa: BLE001
        # A plugin that breaks its promise: one message that it cannot stand must not hold up all the others.
        return DeliveryResult(False, f"the delivery plugin failed: {type(error).__name__}: {error}"[:500])


def _record(
    store: Store, message_id: int, result: DeliveryResult, delays_seconds: Sequence[float], now: datetime
) -> None:
    store.run(lambda tx: record_delivery(tx, message_id, result, delays_seconds, now))


def _oldest_due(tx: Transaction, endpoint_ids: tuple[int, ...], now: datetime, limit: int) -> list[OutboxMessage]:
    """By next_try. Messages that were given up have none and sort before all others: they are paged over, not read."""
    given_up = tx.outbox.page(page=1, per_page=1, endpoint_id=endpoint_ids, delivered_at=None, next_try=None).total
    page, waiting = given_up // limit + 1, list[OutboxMessage]()
    for number in (page, page + 1):
        rows = tx.outbox.page(
            page=number, per_page=limit, sort="next_try", endpoint_id=endpoint_ids, delivered_at=None
        ).rows
        waiting += [m for m in rows if m.next_try is not None]
        if len(rows) < limit:
            break
    return [m for m in waiting if m.next_try is not None and m.next_try <= now][:limit]


def _postpone(tx: Transaction, endpoint_id: int, until: datetime) -> None:
    for message in _oldest_due(tx, (endpoint_id,), until, _POSTPONED_MAX):
        tx.outbox.save(replace(message, next_try=until))
