"""The rehearsal with fence_dummy of the package fence-agents: it reads the others' devices, and switches nothing."""

import shutil
from pathlib import Path

import pytest

from app.adapters.fencing import FenceAgent, FenceDevice
from app.adapters.sim.clock import SimClock
from app.adapters.sim.storage_fence import SimStorageFence
from app.adapters.sim.store import MemoryStore
from app.domain.node import Node, NodeRole
from app.engine.fence_rehearsal import FenceRehearsal, first_round_seconds
from app.ports.storage_fence import StorageClient

NODES = ("n1", "n2", "n3")


class Bench:
    """A device for each of three nodes, whose power state is a file; n1 checks them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.store = MemoryStore()
        for node in NODES:
            (directory / node).write_text("on")
            (directory / f"fence_{node}").symlink_to(str(shutil.which("fence_dummy")))
        method = FenceAgent("power", {n: [self._device(n)] for n in NODES})
        self.round = FenceRehearsal("n1", [*NODES, "n2"], [method], self.store, SimClock(), 300.0, {})

    def _device(self, node: str) -> FenceDevice:
        state = str(self._directory / node)
        return FenceDevice((str(self._directory / f"fence_{node}"),), {"type": "file", "status_file": state})

    def unplug(self, node: str) -> None:
        (self._directory / f"fence_{node}").unlink()

    def rows(self) -> dict[str, bool]:
        return {c.node: c.works for c in self.store.run(lambda tx: tx.fence_checks.where(checked_from="n1"))}

    def events(self) -> list[tuple[str, str]]:
        return [(e.kind, e.node) for e in self.store.run(lambda tx: tx.events.where())]

    def power(self) -> dict[str, str]:
        return {n: (self._directory / n).read_text() for n in NODES}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_the_devices_of_the_others_are_read_and_nothing_is_switched(bench: Bench) -> None:
    before = bench.power()
    bench.round()
    assert bench.rows() == {"n2": True, "n3": True}
    assert bench.power() == before == dict.fromkeys(NODES, "on")
    assert bench.events() == []


def test_a_device_that_does_not_work_any_more_is_found_and_the_others_are_read_all_the_same(bench: Bench) -> None:
    bench.round()
    bench.unplug("n2")
    bench.round()
    bench.round()
    assert bench.rows() == {"n2": False, "n3": True}
    assert bench.events() == [("fence_device.failed", "n2")]


def test_a_node_that_is_off_has_a_device_that_works(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "n3").write_text("off")
    bench.round()
    assert bench.rows()["n3"]


def test_the_nodes_begin_at_moments_of_their_own() -> None:
    moments = {first_round_seconds(f"n{i}", 300.0) for i in range(1, 21)}
    assert len(moments) > 15
    assert all(0 <= m < 300 for m in moments)


def test_the_fences_of_the_pools_are_read_too() -> None:
    store, fence = MemoryStore(), SimStorageFence("fast")
    store.run(lambda tx: [tx.nodes.add(Node(0, n, f"10.0.0.{n[1:]}")) for n in NODES])
    store.run(lambda tx: tx.nodes.add(Node(0, "w1", "10.0.0.9", NodeRole.WITNESS)))
    check = FenceRehearsal("n1", [], [], store, SimClock(), 300.0, {"fast": fence})
    fence.fails.add("n3")
    check()
    rows = store.run(lambda tx: tx.fence_checks.where())
    assert {(c.node, c.method): (c.works, c.said) for c in rows} == {
        ("n2", "storage:fast"): (True, "n2 is let in"),
        ("n3", "storage:fast"): (False, "fast: no answer about n3 within 10 s"),
    }
    fence.fails.clear()
    fence.cut(StorageClient("n2", "10.0.0.2"), 1, 1.0)
    check()
    rows = store.run(lambda tx: tx.fence_checks.where(node="n2"))
    assert [(c.works, c.said) for c in rows] == [(True, "n2 is cut off")]
