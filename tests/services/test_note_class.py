"""What a node is by both heartbeats: in its row, its incident and the events, once, and only by who may say so."""

from datetime import UTC, datetime

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.cluster import Incident, Proof
from app.domain.errors import StaleEpoch
from app.domain.node import Node
from app.domain.records import WebhookEndpoint
from app.domain.storage_heartbeat import KEEP_ENDED, NodeClass
from app.services.epoch import win_epoch
from app.services.incidents import cancel_incident, open_incident, record_proof
from app.services.note_class import note_class

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.run(lambda tx: [tx.nodes.add(Node(0, f"n{i}", f"10.0.0.{i}")) for i in (1, 2, 3)])
    store.run(lambda tx: tx.endpoints.add(WebhookEndpoint(0, "https://ops.example", "whsec_x")))
    store.run(lambda tx: win_epoch(tx, "n1", NOW))
    return store


def _note(store: MemoryStore, what: str, epoch: int = 1) -> None:
    store.run(lambda tx: note_class(tx, epoch, "n3", what, "why", NOW))


def _row(store: MemoryStore) -> Node:
    found: Node = store.run(lambda tx: tx.nodes.where(name="n3")[0])
    return found


def _steps(store: MemoryStore) -> list[str]:
    incidents: list[Incident] = store.run(lambda tx: tx.incidents.where(node="n3"))
    return [s.what for i in incidents for s in i.steps]


def _told(store: MemoryStore, kind: str) -> int:
    events: int = len(store.run(lambda tx: tx.events.where(kind=kind)))
    assert events == len(store.run(lambda tx: tx.outbox.where(kind=kind)))
    return events


def test_isolated_is_written_everywhere_and_once(store: MemoryStore) -> None:
    store.run(lambda tx: open_incident(tx, 1, "n3", 0.0, NOW))
    for _ in range(2):
        _note(store, NodeClass.ISOLATED)
    assert _row(store).condition == "isolated"
    assert _steps(store) == ["detected", "opened", "isolated"]
    assert _told(store, "node.isolated") == 1


def test_the_end_of_a_keep_is_a_step_and_the_node_is_isolated_still(store: MemoryStore) -> None:
    store.run(lambda tx: open_incident(tx, 1, "n3", 0.0, NOW))
    for what in (NodeClass.ISOLATED, KEEP_ENDED, KEEP_ENDED):
        _note(store, what)
    assert _row(store).condition == "isolated"
    assert _steps(store)[2:] == ["isolated", "keep-ended"]


def test_a_node_that_is_online_or_proven_off_cannot_be_kept(store: MemoryStore) -> None:
    _note(store, NodeClass.ISOLATED)
    assert (_row(store).condition, _steps(store)) == ("", [])
    store.run(lambda tx: open_incident(tx, 1, "n3", 0.0, NOW))
    store.run(lambda tx: record_proof(tx, 1, "n3", Proof("power", "status off"), NOW))
    _note(store, NodeClass.ISOLATED)
    assert "isolated" not in _steps(store)


def test_a_coordinator_that_was_replaced_writes_nothing(store: MemoryStore) -> None:
    store.run(lambda tx: open_incident(tx, 1, "n3", 0.0, NOW))
    store.run(lambda tx: win_epoch(tx, "n2", NOW))
    with pytest.raises(StaleEpoch):
        _note(store, NodeClass.ISOLATED)
    assert "isolated" not in _steps(store)


def test_a_node_that_returns_is_isolated_no_more(store: MemoryStore) -> None:
    store.run(lambda tx: open_incident(tx, 1, "n3", 0.0, NOW))
    _note(store, NodeClass.ISOLATED)
    store.run(lambda tx: cancel_incident(tx, 1, "n3", NOW))
    assert _row(store).condition == ""


def test_a_member_that_lost_its_storage_is_told_and_told_when_it_is_well(store: MemoryStore) -> None:
    _note(store, NodeClass.STORAGE_LOST)
    assert _row(store).condition == "storage-lost"
    assert _told(store, "node.storage_lost") == 1
    _note(store, NodeClass.WELL)
    assert _row(store).condition == ""
    (event,) = store.run(lambda tx: tx.events.where(kind="node.condition"))
    assert event.text == "n3 is well: why"
