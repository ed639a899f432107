"""The outbox: what is written with an event, what is due, what follows from each answer; at last over real HTTP."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from app.adapters.db import schema
from app.adapters.db.store import SqlStore
from app.adapters.sim.store import MemoryStore
from app.domain.records import OutboxMessage, WebhookEndpoint
from app.ports.billing import DeliveryResult
from app.ports.store import Store, StoreUnavailable, Transaction
from app.services.deliver_outbox import JITTER, RETRY_AFTER_SECONDS_MAX, deliver_due
from app.services.emit_event import KINDS, emit_event
from plugins.billing.webhook import WebhookDelivery, WebhookOptions
from tests.plugins.billing.receiver import SECRET, Answer, Receiver

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_DELAYS = (0.0, 5.0, 300.0)
FAILED, DONE = DeliveryResult(False, "HTTP 500"), DeliveryResult(True)


class StandingClock:
    """Moves when it is told to."""

    def __init__(self, at: datetime = _BEGAN) -> None:
        self.at = at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def utc(self) -> datetime:
        return self.at


class Noted:
    """A delivery that notes what it was given and answers as told."""

    def __init__(self, answer: Callable[[OutboxMessage, WebhookEndpoint], DeliveryResult]) -> None:
        self._answer = answer
        self._lock = threading.Lock()
        self.seen: list[tuple[int, str, int]] = []

    def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        with self._lock:
            self.seen.append((endpoint.id, message.webhook_id, at_unix))
        return self._answer(message, endpoint)


def _add_endpoint(endpoint: WebhookEndpoint, tx: Transaction) -> None:
    tx.endpoints.add(endpoint)


def _remove(message: OutboxMessage, tx: Transaction) -> None:
    tx.outbox.remove(message.id)


def _give_up(message: OutboxMessage, tx: Transaction) -> None:
    tx.outbox.save(replace(message, next_try=None, attempts=3))


def _emit_and_fail(tx: Transaction) -> None:
    emit_event(tx, "vm.deleted", {}, _BEGAN)
    raise ZeroDivisionError


class World:
    """A store with endpoints, a clock, and rounds of delivery."""

    def __init__(self, *endpoints: WebhookEndpoint, store: Store | None = None) -> None:
        self.store, self.clock = store or MemoryStore(), StandingClock()
        for endpoint in endpoints or (WebhookEndpoint(0, "http://hook.test/", SECRET),):
            self.store.run(partial(_add_endpoint, endpoint))

    def emit(self, kind: str = "node.failed", project_id: int | None = None, **data: object) -> None:
        self.store.run(lambda tx: emit_event(tx, kind, data, self.clock.at, project_id))

    def round(self, answer: DeliveryResult, limit: int = 50) -> Noted:
        noted = Noted(lambda _message, _endpoint: answer)
        deliver_due(self.store, noted, self.clock, _DELAYS, limit=limit)
        return noted

    def pass_seconds(self, seconds: float) -> None:
        self.clock.at += timedelta(seconds=seconds)

    def messages(self) -> list[OutboxMessage]:
        found: list[OutboxMessage] = list(self.store.run(lambda tx: tx.outbox.where()))
        return found

    def endpoint(self, endpoint_id: int = 1) -> WebhookEndpoint:
        found: WebhookEndpoint | None = self.store.run(lambda tx: tx.endpoints.get(endpoint_id))
        assert found is not None
        return found


def test_each_endpoint_that_wants_the_event_gets_a_message_of_its_own() -> None:
    world = World(
        WebhookEndpoint(0, "http://operator/", SECRET),
        WebhookEndpoint(0, "http://mine/", SECRET, project_id=7),
        WebhookEndpoint(0, "http://foreign/", SECRET, project_id=8),
        WebhookEndpoint(0, "http://other-events/", SECRET, events=("vm.stopped",)),
        WebhookEndpoint(0, "http://disabled/", SECRET, disabled=True),
    )
    world.emit("vm.started", 7, vm=17)
    messages = world.messages()
    assert [m.endpoint_id for m in messages] == [1, 2]
    assert len({m.webhook_id for m in messages}) == 2
    assert all(m.webhook_id.startswith("msg_") and "." not in m.webhook_id for m in messages)
    assert json.loads(messages[0].body) == {
        "type": "vm.started", "timestamp": "2026-01-01T00:00:00+00:00", "data": {"vm": 17},
    }  # fmt: skip


def test_an_event_of_the_cluster_is_not_told_to_customers() -> None:
    world = World(WebhookEndpoint(0, "http://mine/", SECRET, project_id=7))
    world.emit("node.failed", None, node="n1")
    assert world.messages() == []


def test_an_event_is_undone_with_what_it_tells() -> None:
    world = World()
    with pytest.raises(ZeroDivisionError):
        world.store.run(_emit_and_fail)
    assert world.messages() == []


def test_an_unknown_kind_is_a_defect_and_a_long_text_is_shortened() -> None:
    world = World()
    with pytest.raises(ValueError, match=r"there is no event vm\.exploded"):
        world.emit("vm.exploded")
    world.emit("vm.unplaced", vm=17, reason="ß" * 30_000)
    (message,) = world.messages()
    assert len(message.body.encode()) < 20_000
    data = json.loads(message.body)["data"]
    assert data["vm"] == 17
    assert set(data["reason"]) == {"ß"}


def test_every_kind_of_the_plan_can_be_emitted() -> None:
    world = World()
    for kind in KINDS:
        world.emit(kind)
    assert [m.kind for m in world.messages()] == list(KINDS)


def test_what_was_delivered_is_not_delivered_again() -> None:
    world = World()
    world.emit()
    assert len(world.round(DONE).seen) == 1
    assert world.round(DONE).seen == []
    (message,) = world.messages()
    assert (message.attempts, message.delivered_at, message.next_try) == (1, _BEGAN, None)


def test_the_delays_are_those_given_with_jitter_under_the_same_id_and_the_last_failure_is_kept() -> None:
    world = World()
    world.emit()
    ids = set()
    for attempt, delay in ((1, 5.0), (2, 300.0)):
        (seen,) = world.round(FAILED).seen
        ids.add(seen[1])
        (message,) = world.messages()
        assert message.next_try is not None
        wait = (message.next_try - world.clock.at).total_seconds()
        assert delay * (1 - JITTER) <= wait <= delay * (1 + JITTER)
        assert (message.attempts, message.last_error) == (attempt, "HTTP 500")
        world.pass_seconds(wait - 0.001)
        assert world.round(FAILED).seen == [], "not before its time"
        world.pass_seconds(0.001)
    (seen,) = world.round(FAILED).seen
    (message,) = world.messages()
    assert (message.attempts, message.next_try, message.delivered_at) == (3, None, None)
    assert ids == {seen[1]}
    world.pass_seconds(1e7)
    assert world.round(DONE).seen == [], "given up, and kept for a replay"
    world.store.run(lambda tx: tx.outbox.save(replace(message, next_try=world.clock.at)))
    assert [s[1] for s in world.round(DONE).seen] == [seen[1]]


def test_each_try_is_signed_for_its_own_time() -> None:
    world = World()
    world.emit()
    first = world.round(FAILED).seen[0][2]
    world.pass_seconds(6)
    assert world.round(FAILED).seen[0][2] == first + 6


def test_a_receiver_that_asks_for_time_gets_none_of_its_messages_before_but_others_get_theirs() -> None:
    world = World(*(WebhookEndpoint(0, f"http://{n}/", SECRET) for n in ("busy", "well")))
    for _ in range(3):
        world.emit()
    noted = Noted(lambda _m, e: DeliveryResult(False, "HTTP 429", 120.0) if e.id == 1 else DONE)
    assert deliver_due(world.store, noted, world.clock, _DELAYS) == 3
    assert [e for e, *_ in noted.seen].count(1) == 1, "the rest would only be refused as well"
    world.pass_seconds(119.9)
    assert world.round(DONE).seen == []
    world.pass_seconds(0.1)
    assert [e for e, *_ in world.round(DONE).seen] == [1, 1, 1]


def test_a_receiver_cannot_ask_for_ever() -> None:
    world = World()
    world.emit()
    world.round(DeliveryResult(False, "HTTP 503", 1e300))
    (message,) = world.messages()
    assert message.next_try == _BEGAN + timedelta(seconds=RETRY_AFTER_SECONDS_MAX)


def test_gone_disables_the_endpoint_and_its_messages_wait() -> None:
    world = World()
    world.emit()
    world.emit()
    assert len(world.round(DeliveryResult(False, "HTTP 410", gone=True)).seen) == 1
    assert world.endpoint().disabled
    assert world.round(DONE).seen == []
    assert all(m.delivered_at is None for m in world.messages())
    world.emit()
    assert len(world.messages()) == 2, "nothing new is written for it"


def test_the_oldest_goes_first_and_a_backlog_does_not_crowd_out_another_endpoint() -> None:
    world = World(WebhookEndpoint(0, "http://dead/", SECRET, project_id=1), WebhookEndpoint(0, "http://well/", SECRET))
    for _ in range(30):
        world.emit("vm.started", 1)
        world.pass_seconds(0.01)
    for message in [m for m in world.messages() if m.endpoint_id == 2][:25]:
        world.store.run(partial(_remove, message))
    noted = Noted(lambda _m, e: FAILED if e.id == 1 else DONE)
    assert deliver_due(world.store, noted, world.clock, _DELAYS, limit=10) == 5
    by_id = {m.webhook_id: m for m in world.messages()}
    assert [by_id[w].id for e, w, _ in noted.seen if e == 1] == [1]
    well = [by_id[w].id for e, w, _ in noted.seen if e == 2]
    assert well == sorted(well)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The order of rows without a next try is a matter of the database."""
    if request.param == "memory":
        yield MemoryStore()
        return
    url = f"sqlite:///{tmp_path}/outbox.db"
    schema.upgrade(url)
    sql = SqlStore((url,))
    yield sql
    sql.close()


@pytest.mark.parametrize("given_up", [1, 9, 10, 11, 25])
def test_messages_that_were_given_up_do_not_hide_those_that_are_due(given_up: int, store: Store) -> None:
    world = World(store=store)
    for _ in range(given_up):
        world.emit()
    for message in world.messages():
        world.store.run(partial(_give_up, message))
    for _ in range(12):
        world.emit()
    assert len(world.round(DONE, limit=10).seen) == 10
    assert len(world.round(DONE, limit=10).seen) == 2


def test_a_plugin_that_raises_costs_its_message_one_try_and_the_others_nothing() -> None:
    world = World(*(WebhookEndpoint(0, f"http://{n}/", SECRET) for n in ("a", "b")))
    world.emit()

    def answer(_message: OutboxMessage, endpoint: WebhookEndpoint) -> DeliveryResult:
        if endpoint.id == 1:
            raise KeyError("broken")
        return DONE

    assert deliver_due(world.store, Noted(answer), world.clock, _DELAYS) == 1
    first, second = world.messages()
    assert first.last_error == "the delivery plugin failed: KeyError: 'broken'"
    assert (first.attempts, second.delivered_at) == (1, _BEGAN)


def test_a_crash_between_the_delivery_and_its_record_delivers_again_under_the_same_id() -> None:
    memory = MemoryStore()
    world = World(store=memory)
    world.emit("vm.started", 1, vm=17)
    plugin = WebhookDelivery(WebhookOptions(allow_private_targets=True))
    with Receiver() as receiver:
        world.clock.at = datetime.now(UTC)
        endpoint = replace(world.endpoint(), url=receiver.url)
        world.store.run(lambda tx: tx.endpoints.save(endpoint))

        class DiesAfterwards:
            def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
                result = plugin.deliver(message, endpoint, at_unix)
                memory.unavailable = True
                return result

        with pytest.raises(StoreUnavailable):
            deliver_due(world.store, DiesAfterwards(), world.clock, _DELAYS)
        memory.unavailable = False
        assert deliver_due(world.store, plugin, world.clock, _DELAYS) == 1
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == world.messages()[0].webhook_id
    assert first.event == second.event


def test_over_real_http_the_first_try_fails_and_the_retry_has_the_same_id_and_a_new_time() -> None:
    with Receiver(Answer(500), Answer(204)) as receiver:
        world = World(WebhookEndpoint(0, receiver.url, SECRET))
        world.clock.at = datetime.now(UTC) - timedelta(seconds=20)
        plugin = WebhookDelivery(WebhookOptions(allow_private_targets=True))
        world.emit("vm.started", 1, vm=17, name="web-1")
        assert deliver_due(world.store, plugin, world.clock, _DELAYS) == 0
        world.pass_seconds(6)
        assert deliver_due(world.store, plugin, world.clock, _DELAYS) == 1
    assert receiver.errors == []
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) == int(first.headers["webhook-timestamp"]) + 6
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    assert second.event["data"] == {"vm": 17, "name": "web-1"}
