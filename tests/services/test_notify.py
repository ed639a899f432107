"""Operators are told: the reminder of a disarmed cluster, the closed incident, the test; each by the right plugin."""

import json
from datetime import timedelta

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.cluster import Incident, IncidentPhase
from app.domain.errors import Conflict, InvalidInput, NotFound, StaleEpoch
from app.domain.records import OutboxMessage, WebhookEndpoint
from app.ports.billing import DeliveryResult
from app.services.deliver_outbox import deliver_due
from app.services.disarm_cluster import arm_cluster, disarm_cluster
from app.services.epoch import win_epoch
from app.services.incidents import close_incident
from app.services.remind_disarmed import KIND, remind_disarmed
from app.services.route_delivery import ByScheme
from app.services.save_endpoint import add_endpoint, find_endpoint
from app.services.try_endpoint import try_endpoint
from tests.domain.make import WHEN
from tests.services.test_deliver_outbox import FAILED, Noted, StandingClock

HOUR = 3600.0


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.run(lambda tx: win_epoch(tx, "n1", WHEN))
    made.run(lambda tx: add_endpoint(tx, WebhookEndpoint(0, "mailto:ops@example.org", "")))
    return made


def _kinds(store: MemoryStore) -> list[str]:
    return [m.kind for m in store.run(lambda tx: tx.outbox.where())]


def test_a_cluster_that_stays_disarmed_is_told_once_for_each_time(store: MemoryStore) -> None:
    def remind(hours: float, epoch: int = 1) -> bool:
        return store.run(lambda tx: remind_disarmed(tx, epoch, HOUR, WHEN + timedelta(hours=hours)))

    assert not remind(5), "it is armed"
    store.run(lambda tx: disarm_cluster(tx, "alice", "new switch", WHEN))
    assert not remind(0.9)
    with pytest.raises(StaleEpoch):
        remind(1.1, epoch=0)
    assert remind(1.1)
    assert not remind(1.2)
    assert not remind(50)
    store.run(lambda tx: arm_cluster(tx, "bob", WHEN + timedelta(hours=51)))
    store.run(lambda tx: disarm_cluster(tx, "bob", "again", WHEN + timedelta(hours=52)))
    assert not remind(52.5)
    assert remind(53.5)
    assert _kinds(store).count(KIND) == 2
    (first, second) = store.run(lambda tx: tx.events.where(kind=KIND))
    assert "alice: new switch" in first.text
    assert "bob: again" in second.text


def test_a_closed_incident_says_what_came_of_it_and_how_long_it_took(store: MemoryStore) -> None:
    row = store.run(lambda tx: tx.incidents.add(Incident(0, "n3", IncidentPhase.STARTING, WHEN)))
    for _ in range(2):
        store.run(lambda tx: close_incident(tx, 1, row.id, WHEN + timedelta(seconds=14.5)))
    (message,) = store.run(lambda tx: tx.outbox.where(kind="incident.closed"))
    assert json.loads(message.body)["data"] == {
        "node": "n3", "incident": row.id, "outcome": "0 VMs verified up", "took_seconds": 14.5,
    }  # fmt: skip


def test_a_test_is_tried_once_and_goes_to_that_endpoint_alone(store: MemoryStore) -> None:
    store.run(lambda tx: add_endpoint(tx, WebhookEndpoint(0, "mailto:other@example.org", "")))
    sent = store.run(lambda tx: try_endpoint(tx, 1, "alice", WHEN))
    clock = StandingClock(WHEN)
    noted = Noted(lambda _m, _e: FAILED)
    for _ in range(3):
        deliver_due(store, noted, clock, (0.0, 5.0, 300.0))
        clock.at += timedelta(hours=1)
    assert [endpoint for endpoint, _, _ in noted.seen] == [1]
    row = store.run(lambda tx: tx.outbox.get(sent.id))
    assert row is not None
    assert (row.attempts, row.next_try, row.last_error) == (1, None, "HTTP 500")
    with pytest.raises(NotFound):
        store.run(lambda tx: try_endpoint(tx, 99, "alice", WHEN))


def test_one_that_is_disabled_is_not_tested(store: MemoryStore) -> None:
    gone = store.run(lambda tx: tx.endpoints.add(WebhookEndpoint(0, "https://x.example/", "s", disabled=True)))
    with pytest.raises(Conflict, match="disabled"):
        store.run(lambda tx: try_endpoint(tx, gone.id, "alice", WHEN))


class Says:
    """A delivery that says its own name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        return DeliveryResult(False, self._name)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://x.example/", "web"), ("HTTP://x.example/", "web"), ("mailto:a@b.example", "post"),
        ("gopher://x.example/", "nothing delivers to gopher: on this node, only to http, https, mailto"),
    ],
)  # fmt: skip
def test_an_endpoint_is_served_by_the_plugin_of_its_scheme(url: str, said: str) -> None:
    web = Says("web")
    route = ByScheme({"http": web, "https": web, "mailto": Says("post")})
    message = OutboxMessage(1, 1, "msg", "node.failed", "{}", WHEN)
    assert route.deliver(message, WebhookEndpoint(1, url, ""), 0).error == said


def test_mail_without_a_mail_server_says_what_is_missing() -> None:
    message = OutboxMessage(1, 1, "msg", "node.failed", "{}", WHEN)
    error = ByScheme({"https": Says("web")}).deliver(message, WebhookEndpoint(1, "mailto:a@b.example", ""), 0).error
    assert "[notify.mail]" in error


@pytest.mark.parametrize(
    "url",
    [
        "mailto:", "mailto:ops", "mailto:a@b,c@d", "mailto:a@b?bcc=c@d", "mailto:a@b\nBcc: c@d",
        "mailto:Ops <a@b.example>", "mailto:a@@b", "ftp://x.example/",
    ],
)  # fmt: skip
def test_only_one_plain_address_is_taken(store: MemoryStore, url: str) -> None:
    with pytest.raises(InvalidInput, match="mailto: and one address"):
        store.run(lambda tx: add_endpoint(tx, WebhookEndpoint(0, url, "")))
    assert store.run(lambda tx: find_endpoint(tx, 1)).url == "mailto:ops@example.org"
