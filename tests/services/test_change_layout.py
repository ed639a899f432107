"""Nodes come and go in the state."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.errors import Conflict, NotFound
from app.domain.layout import Layout, first_layout
from app.domain.node import Node, NodeRole, NodeState
from app.domain.vm import Desired, Vm
from app.services.change_layout import admit_member, current_layout, forget_member

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.run(lambda tx: tx.layouts.add(first_layout("rack", "n1", ("10.0.0.1",))))
    made.run(lambda tx: tx.nodes.add(Node(0, "n1", "10.0.0.1", state=NodeState.ONLINE)))
    return made


def admit(store: MemoryStore, name: str = "n2") -> Layout:
    return store.run(lambda tx: admit_member(tx, name, (f"10.0.0.{name[1:]}",), NodeRole.COMPUTE, None, NOW))


def _vm(node: str) -> Vm:
    return Vm(
        id=0, name="web", project_id=1, plan="s", cores=1, memory_mib=1, disk_gib=1, image="i", pool="p", created=NOW,
        node=node, desired=Desired.RUNNING,
    )  # fmt: skip


def test_an_admitted_node_is_in_the_layout_once(store: MemoryStore) -> None:
    assert admit(store) == admit(store) == store.run(current_layout)
    assert [e.kind for e in store.run(lambda tx: tx.events.where())] == ["node.admitted"]


def test_nobody_joins_where_the_majority_would_be_gone_until_then(store: MemoryStore) -> None:
    """A second node, or one more while another is down: VMs that run would be paused, and ended."""
    store.run(lambda tx: tx.vms.add(_vm("n1")))
    with pytest.raises(Conflict, match=r"1 of 1 members are here, and 2 of 2 will be the majority.* web among them"):
        admit(store)
    store.run(lambda tx: tx.vms.save(replace(tx.vms.where()[0], desired=Desired.STOPPED)))
    assert admit(store).member("n2")
    store.run(lambda tx: tx.nodes.add(Node(0, "n2", "10.0.0.2", state=NodeState.ONLINE)))
    store.run(lambda tx: tx.vms.save(replace(tx.vms.where()[0], desired=Desired.RUNNING)))
    assert admit(store, "n3").member("n3"), "two of three are a majority"
    with pytest.raises(Conflict, match="2 of 3 members are here, and 3 of 4"):
        admit(store, "n4")


def test_a_forgotten_node_is_nowhere(store: MemoryStore) -> None:
    admit(store)
    store.run(lambda tx: tx.nodes.add(Node(0, "n2", "10.0.0.2")))
    assert store.run(lambda tx: forget_member(tx, "n2", NOW)).version == 3
    assert not store.run(lambda tx: tx.nodes.where(name="n2"))
    with pytest.raises(NotFound):
        store.run(lambda tx: forget_member(tx, "n2", NOW))


def test_a_node_with_vms_is_not_forgotten(store: MemoryStore) -> None:
    """Its VMs may still run: only a proof and a recovery take them away from it."""
    admit(store)
    store.run(lambda tx: tx.vms.add(_vm("n2")))
    with pytest.raises(Conflict, match=r"1 VM\(s\) are assigned to n2, web"):
        store.run(lambda tx: forget_member(tx, "n2", NOW))
    assert store.run(current_layout).member("n2")


def test_a_cloud_without_layout_says_what_makes_one() -> None:
    with pytest.raises(NotFound, match="cluster init"):
        MemoryStore().run(current_layout)
