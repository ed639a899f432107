"""Nodes come and go in the state."""

from datetime import UTC, datetime

import pytest

from app.adapters.sim.store import MemoryStore
from app.domain.errors import Conflict, NotFound
from app.domain.layout import Layout, first_layout
from app.domain.node import Node, NodeRole
from app.domain.vm import Vm
from app.services.change_layout import admit_member, current_layout, forget_member

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.run(lambda tx: tx.layouts.add(first_layout("rack", "n1", ("10.0.0.1",))))
    made.run(lambda tx: tx.nodes.add(Node(0, "n1", "10.0.0.1")))
    return made


def admit(store: MemoryStore, name: str = "n2") -> Layout:
    return store.run(lambda tx: admit_member(tx, name, ("10.0.0.2",), NodeRole.COMPUTE, None, NOW))


def test_an_admitted_node_is_in_the_layout_once(store: MemoryStore) -> None:
    assert admit(store) == admit(store) == store.run(current_layout)
    assert [e.kind for e in store.run(lambda tx: tx.events.where())] == ["node.admitted"]


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
    vm = Vm(
        id=0, name="web", project_id=1, plan="s", cores=1, memory_mib=1, disk_gib=1, image="i", pool="p", created=NOW,
        node="n2",
    )  # fmt: skip
    store.run(lambda tx: tx.vms.add(vm))
    with pytest.raises(Conflict, match=r"1 VM\(s\) are assigned to n2, web"):
        store.run(lambda tx: forget_member(tx, "n2", NOW))
    assert store.run(current_layout).member("n2")


def test_a_cloud_without_layout_says_what_makes_one() -> None:
    with pytest.raises(NotFound, match="cluster init"):
        MemoryStore().run(current_layout)
