"""The coordinator's writes on a loss: voided proofs, losses that are counted, and nothing at all while disarmed."""

from datetime import UTC, datetime, timedelta

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.cluster import IncidentPhase, Proof
from app.domain.errors import Conflict
from app.domain.node import Node, NodeState
from app.domain.recovery import Assignment, RecoveryPlan
from app.services.commit_plan import commit_plan
from app.services.disarm_cluster import arm_cluster, disarm_cluster
from app.services.epoch import win_epoch
from app.services.incidents import cancel_incident, hold_fence, open_incident, record_proof, void_proof
from app.services.quarantine import end_quarantine
from app.services.rejoin_node import rejoin_node
from tests.domain.make import vm

NOW = datetime(2026, 5, 1, tzinfo=UTC)
OFF = Proof("power", "status off")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.run(
        lambda tx: [tx.nodes.add(Node(0, f"n{i}", f"10.0.0.{i}")) for i in (1, 2, 3)] and win_epoch(tx, "n1", NOW)
    )
    return store


def _lose(store: MemoryStore, at: datetime = NOW) -> None:
    store.run(lambda tx: open_incident(tx, 1, "n3", 0.0, at))


def _n3(store: MemoryStore) -> Node:
    found: Node = store.run(lambda tx: tx.nodes.where(name="n3")[0])
    return found


def test_a_void_proof_is_gone_told_once_and_may_be_followed_by_another(store: MemoryStore) -> None:
    _lose(store)
    store.run(lambda tx: record_proof(tx, 1, "n3", OFF, NOW))
    for _ in range(2):
        store.run(lambda tx: void_proof(tx, 1, "n3", "power", "it reads on again", NOW))
    (incident,) = store.run(lambda tx: tx.incidents.where())
    assert (incident.proof, incident.phase) == (None, IncidentPhase.FENCING)
    assert len(store.run(lambda tx: tx.events.where(kind="fence.false-proof"))) == 1
    with pytest.raises(Conflict, match="no proof that n3 is fenced"):
        store.run(lambda tx: commit_plan(tx, 1, RecoveryPlan("n3"), NOW))
    store.run(lambda tx: record_proof(tx, 1, "n3", Proof("watchdog", "absent"), NOW))
    store.run(lambda tx: commit_plan(tx, 1, RecoveryPlan("n3"), NOW))
    assert _n3(store).state is NodeState.FENCED


def test_a_proof_of_another_method_is_not_voided(store: MemoryStore) -> None:
    _lose(store)
    store.run(lambda tx: record_proof(tx, 1, "n3", Proof("watchdog", "absent"), NOW))
    store.run(lambda tx: void_proof(tx, 1, "n3", "power", "it reads on again", NOW))
    assert store.run(lambda tx: tx.incidents.where())[0].proof == Proof("watchdog", "absent")


def test_a_held_fence_is_told_once(store: MemoryStore) -> None:
    _lose(store)
    for _ in range(3):
        store.run(lambda tx: hold_fence(tx, 1, "n3", "2 of 3 nodes are lost", NOW))
    assert len(store.run(lambda tx: tx.events.where(kind="storm_guard.held"))) == 1


def test_disarmed_no_decision_of_the_coordinator_is_written(store: MemoryStore) -> None:
    _lose(store)
    store.run(lambda tx: record_proof(tx, 1, "n3", OFF, NOW))
    before = store.run(lambda tx: (tx.incidents.where(), tx.nodes.where()))
    store.run(lambda tx: disarm_cluster(tx, "op", "new switches", NOW))
    for write in (
        lambda tx: open_incident(tx, 1, "n2", 0.0, NOW),
        lambda tx: cancel_incident(tx, 1, "n3", NOW),
        lambda tx: void_proof(tx, 1, "n3", "power", "x", NOW),
        lambda tx: commit_plan(tx, 1, RecoveryPlan("n3"), NOW),
        lambda tx: hold_fence(tx, 1, "n3", "x", NOW),
    ):
        with pytest.raises(Conflict, match="disarmed by op: new switches"):
            store.run(write)
    assert store.run(lambda tx: (tx.incidents.where(), tx.nodes.where())) == before
    store.run(lambda tx: arm_cluster(tx, "op", NOW))
    store.run(lambda tx: commit_plan(tx, 1, RecoveryPlan("n3"), NOW))


def _lose_and_return(store: MemoryStore, at: datetime) -> None:
    _lose(store, at)
    store.run(lambda tx: cancel_incident(tx, 1, "n3", at))


def test_the_third_loss_within_an_hour_quarantines_and_the_first_two_do_not(store: MemoryStore) -> None:
    for minutes in (0, 20):
        _lose_and_return(store, NOW + timedelta(minutes=minutes))
        assert _n3(store).quarantined_until is None
    _lose_and_return(store, NOW + timedelta(minutes=40))
    assert _n3(store).quarantined_until == NOW + timedelta(minutes=40, hours=2)
    assert len(store.run(lambda tx: tx.events.where(kind="node.quarantined"))) == 1


def test_losses_that_are_longer_ago_do_not_count(store: MemoryStore) -> None:
    for minutes in (0, 20, 61, 100, 150):
        _lose_and_return(store, NOW + timedelta(minutes=minutes))
        assert _n3(store).quarantined_until is None
    assert len(_n3(store).losses) == 2


def test_a_quarantined_node_rejoins_only_after_its_time(store: MemoryStore) -> None:
    for minutes in (0, 1):
        _lose_and_return(store, NOW + timedelta(minutes=minutes))
    _lose(store, NOW + timedelta(minutes=2))
    store.run(lambda tx: record_proof(tx, 1, "n3", OFF, NOW))
    store.run(lambda tx: commit_plan(tx, 1, RecoveryPlan("n3"), NOW))
    with pytest.raises(Conflict, match="quarantined until 2026-05-01 02:02:00 UTC"):
        store.run(lambda tx: rejoin_node(tx, "n3", NOW))
    store.run(lambda tx: end_quarantine(tx, 1, "n3", NOW + timedelta(minutes=121)))
    assert _n3(store).quarantined_until is not None, "a minute too early"
    store.run(lambda tx: end_quarantine(tx, 1, "n3", NOW + timedelta(minutes=122)))
    store.run(lambda tx: rejoin_node(tx, "n3", NOW))
    assert _n3(store).state is NodeState.ONLINE


def test_what_a_recovery_moves_names_the_incident(store: MemoryStore) -> None:
    lost = vm(0, "n3", 4, correlation_id="shop-order-17")
    vm_id = store.run(lambda tx: tx.vms.add(lost)).id
    _lose(store)
    store.run(lambda tx: record_proof(tx, 1, "n3", OFF, NOW))
    plan = RecoveryPlan("n3", (Assignment(vm_id, "n1", 5, "it has room"),))
    store.run(lambda tx: commit_plan(tx, 1, plan, NOW))
    moved = store.run(lambda tx: tx.vms.get(vm_id))
    assert moved is not None
    assert (moved.node, moved.correlation_id) == ("n1", f"incident-{moved.incident_id}")
