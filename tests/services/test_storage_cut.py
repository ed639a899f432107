"""The rows of a storage fence: the token grows, a cut is known before it begins, and who gets his storage back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.cluster import Incident, IncidentPhase, Proof
from app.domain.errors import Conflict, StaleEpoch
from app.domain.node import Node, NodeState
from app.services.epoch import win_epoch
from app.services.incidents import cancel_incident
from app.services.rejoin_node import rejoin_node
from app.services.storage_cut import begin_cut, end_cut, may_restore
from tests.domain.make import WHEN, lost


class Rows:
    """n3 is lost, and n1 leads in epoch 1."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.run = self.store.run
        self.epoch = self.run(lambda tx: win_epoch(tx, "n1", WHEN))
        self.run(lambda tx: tx.nodes.add(lost("n3")))
        self.run(lambda tx: tx.incidents.add(Incident(0, "n3", IncidentPhase.FENCING, WHEN)))

    def node(self) -> Node:
        row: Node = self.run(lambda tx: tx.nodes.where(name="n3")[0])
        return row

    @property
    def incident(self) -> Incident:
        row: Incident = self.run(lambda tx: tx.incidents.where(node="n3")[-1])
        return row

    def change(self, **fields: Any) -> None:
        self.run(lambda tx: tx.nodes.save(replace(tx.nodes.where(name="n3")[0], **fields)))

    def prove(self) -> None:
        proven = replace(self.incident, proof=Proof("power", "off"), phase=IncidentPhase.PLANNING)
        self.run(lambda tx: tx.incidents.save(proven))

    def cut(self, *pools: str, later_seconds: float = 0.0) -> int:
        now = WHEN + timedelta(seconds=later_seconds)
        return self.run(lambda tx: begin_cut(tx, self.epoch, "n3", pools, now))

    def may_restore(self) -> None:
        self.run(lambda tx: may_restore(tx, self.epoch, "n3"))


def test_each_cut_has_a_higher_token_also_where_the_next_coordinators_clock_is_behind() -> None:
    rows = Rows()
    tokens = [
        rows.cut("pool"),
        rows.cut("pool"),
        rows.cut("pool", later_seconds=-60),
        rows.cut("pool", later_seconds=9),
    ]
    assert tokens == sorted(set(tokens))
    rows.change(storage_token=0, storage_cut=())  # forgotten, and a member again under the same name
    assert rows.cut("pool", later_seconds=10) > tokens[-1]


def test_what_is_being_cut_is_known_before_and_told_once() -> None:
    rows = Rows()
    rows.cut("pool")
    rows.cut("pool")
    rows.cut("fast", "pool")
    assert rows.node().storage_cut == ("fast", "pool")
    assert [s.what for s in rows.incident.steps] == ["storage-cut", "storage-cut"]


def test_nothing_is_cut_that_is_not_lost_or_is_proven_or_by_a_coordinator_that_was_replaced() -> None:
    rows = Rows()
    rows.prove()
    with pytest.raises(Conflict, match="not to be fenced any more"):
        rows.cut("pool")
    rows = Rows()
    rows.change(state=NodeState.ONLINE)
    with pytest.raises(Conflict):
        rows.cut("pool")
    rows = Rows()
    rows.run(lambda tx: win_epoch(tx, "n2", WHEN))
    with pytest.raises(StaleEpoch):
        rows.cut("pool")
    assert rows.node().storage_cut == ()


def test_who_gets_his_storage_back() -> None:
    rows = Rows()
    rows.cut("pool")
    rows.may_restore()  # back before any proof
    rows.prove()
    with pytest.raises(Conflict, match="lost and not clean"):
        rows.may_restore()
    rows.change(state=NodeState.FENCED)
    with pytest.raises(Conflict, match="fenced and not clean"):
        rows.may_restore()
    rows.change(cleaned=True)
    rows.may_restore()


def test_a_node_is_let_in_when_it_has_its_storage() -> None:
    rows = Rows()
    token = rows.cut("pool")
    rows.change(state=NodeState.FENCED)
    rows.run(lambda tx: rejoin_node(tx, "n3", WHEN))
    assert (rows.node().state, rows.node().cleaned) == (NodeState.FENCED, True)
    rows.run(lambda tx: end_cut(tx, rows.epoch, "n3", token - 1, WHEN))
    assert rows.node().storage_cut == ("pool",), "it was cut off anew since"
    rows.run(lambda tx: end_cut(tx, rows.epoch, "n3", token, WHEN))
    assert (rows.node().storage_cut, rows.node().cleaned) == ((), False)
    assert [e.kind for e in rows.run(lambda tx: tx.events.where())] == ["node.storage-restored"]
    rows.run(lambda tx: rejoin_node(tx, "n3", WHEN))
    assert rows.node().state is NodeState.ONLINE


def test_one_that_comes_back_unproven_is_not_let_in_without_its_storage() -> None:
    rows = Rows()
    token = rows.cut("pool")
    rows.run(lambda tx: cancel_incident(tx, rows.epoch, "n3", WHEN))
    assert rows.node().state is NodeState.LOST
    rows.run(lambda tx: end_cut(tx, rows.epoch, "n3", token, WHEN))
    rows.run(lambda tx: cancel_incident(tx, rows.epoch, "n3", WHEN))
    assert rows.node().state is NodeState.ONLINE
