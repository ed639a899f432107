"""What the agents read of each other's fence devices: a row for each, and one word when a device stops working."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.records import FenceCheck, WebhookEndpoint
from app.services.report_fence_checks import FenceAnswer, report_fence_checks

NOW = datetime(2026, 5, 1, tzinfo=UTC)
WORKS = FenceAnswer("n3", "power", works=True, said="fence_ipmilan: on")
FAILS = FenceAnswer("n3", "power", works=False, said="login refused")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.run(lambda tx: tx.endpoints.add(WebhookEndpoint(0, "https://ops.example/", "whsec_x")))
    return store


def _report(store: MemoryStore, me: str, answers: Sequence[FenceAnswer], minute: float) -> None:
    now = NOW + timedelta(minutes=minute)
    store.run(lambda tx: report_fence_checks(tx, me, answers, 900.0, now))


def _told(store: MemoryStore) -> list[str]:
    """The events, each of which must have been told to the outside as well."""
    kinds = store.run(lambda tx: [e.kind for e in tx.events.where()])
    assert kinds == store.run(lambda tx: [m.kind for m in tx.outbox.where()])
    return [k.removeprefix("fence_device.") for k in kinds]


def _rows(store: MemoryStore) -> list[FenceCheck]:
    return list(store.run(lambda tx: tx.fence_checks.where()))


def test_a_device_that_works_is_a_row_and_no_event(store: MemoryStore) -> None:
    _report(store, "n1", [WORKS], 0)
    _report(store, "n1", [WORKS], 5)
    (row,) = _rows(store)
    assert (row.node, row.method, row.checked_from, row.works, row.said) == (
        "n3", "power", "n1", True, "fence_ipmilan: on",
    )  # fmt: skip
    assert (row.since, row.checked_at) == (NOW, NOW + timedelta(minutes=5))
    assert _told(store) == []


def test_one_that_stops_working_is_told_once_and_once_when_it_works_again(store: MemoryStore) -> None:
    for minute, answer in enumerate([WORKS, FAILS, FAILS, FAILS, WORKS, WORKS]):
        _report(store, "n1", [answer], minute)
    assert _told(store) == ["failed", "recovered"]
    (event, _) = store.run(lambda tx: tx.events.where())
    assert event.text == "the fence device power of n3, read from n1, does not work: login refused"
    assert event.node == "n3"


def test_one_that_never_worked_is_told_too(store: MemoryStore) -> None:
    _report(store, "n1", [FAILS], 0)
    assert _told(store) == ["failed"]


def test_many_nodes_that_check_the_same_device_tell_it_once(store: MemoryStore) -> None:
    for minute, (me, answer) in enumerate(
        [("n1", FAILS), ("n2", FAILS), ("n4", FAILS), ("n1", WORKS), ("n2", WORKS), ("n4", WORKS)]
    ):
        _report(store, me, [answer], minute)
    assert _told(store) == ["failed", "recovered"]
    assert len(_rows(store)) == 3


def test_what_a_node_read_that_is_gone_for_long_holds_back_no_word(store: MemoryStore) -> None:
    _report(store, "n1", [FAILS], 0)
    _report(store, "n2", [FAILS], 1)
    _report(store, "n2", [WORKS], 20)
    _report(store, "n2", [FAILS], 25)
    assert _told(store) == ["failed", "recovered", "failed"]


def test_methods_and_nodes_are_devices_of_their_own(store: MemoryStore) -> None:
    second = FenceAnswer("n3", "power2", works=False, said="no answer")
    other = FenceAnswer("n4", "power", works=False, said="no answer")
    _report(store, "n1", [FAILS, second, other], 0)
    assert _told(store) == ["failed"] * 3


def test_a_device_that_is_no_longer_configured_has_no_row(store: MemoryStore) -> None:
    _report(store, "n1", [WORKS, FenceAnswer("n2", "power", works=True, said="on")], 0)
    _report(store, "n2", [WORKS], 0)
    _report(store, "n1", [WORKS], 1)
    assert [(r.node, r.checked_from) for r in _rows(store)] == [("n3", "n1"), ("n3", "n2")]
