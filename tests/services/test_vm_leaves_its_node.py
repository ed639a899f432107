"""Without a proof a VM leaves only a node that is online and keeps its promise not to start it."""

from dataclasses import replace

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.errors import Conflict, StaleEpoch
from app.domain.node import Node, NodeState
from app.domain.recovery import Assignment, RecoveryPlan
from app.domain.vm import PowerSeen, Vm
from app.services.commit_plan import commit_plan
from app.services.epoch import win_epoch
from tests.domain.make import WHEN, node, seen, vm

MOVE = RecoveryPlan("", (Assignment(1, "n2", 2, "n1 could not start it"),))


def _store(power: PowerSeen, holder: Node | None = None) -> MemoryStore:
    store = MemoryStore()
    row = vm(1, "n1")

    def fill(tx: object) -> None:
        for n in (holder or node("n1"), node("n2")):
            tx.nodes.add(n)  # type: ignore[attr-defined]
        tx.vms.add(replace(row, observed=seen(power, row)))  # type: ignore[attr-defined]

    store.run(fill)
    store.run(lambda tx: win_epoch(tx, "n1", WHEN))
    return store


def _vm(store: MemoryStore) -> Vm:
    found: Vm = store.run(lambda tx: tx.vms.get(1))
    return found


def test_a_vm_that_was_given_up_moves_and_the_node_is_remembered() -> None:
    store = _store(PowerSeen.FAILED)
    store.run(lambda tx: commit_plan(tx, 1, MOVE, WHEN))
    assert (_vm(store).node, _vm(store).generation, _vm(store).failed_nodes) == ("n2", 2, ("n1",))


@pytest.mark.parametrize("power", [PowerSeen.STARTING, PowerSeen.RUNNING, PowerSeen.OFF])
def test_a_promise_that_was_taken_back_since_the_plan_is_respected(power: PowerSeen) -> None:
    store = _store(power)
    with pytest.raises(Conflict, match="n1 has not given up VM 1 any more"):
        store.run(lambda tx: commit_plan(tx, 1, MOVE, WHEN))
    assert _vm(store).node == "n1"


def test_the_promise_of_a_node_that_is_lost_is_none() -> None:
    store = _store(PowerSeen.FAILED, node("n1", state=NodeState.LOST))
    with pytest.raises(Conflict, match="has not given up"):
        store.run(lambda tx: commit_plan(tx, 1, MOVE, WHEN))


def test_a_replaced_coordinator_moves_nothing() -> None:
    store = _store(PowerSeen.FAILED)
    store.run(lambda tx: win_epoch(tx, "n2", WHEN))
    with pytest.raises(StaleEpoch):
        store.run(lambda tx: commit_plan(tx, 1, MOVE, WHEN))
    assert _vm(store).node == "n1"
