"""The port `StorageFence`, on the simulated one: what a pool that offers a fence must keep to."""

from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.adapters.sim.storage_fence import SimStorageFence
from app.ports.storage import StorageError
from app.ports.storage_fence import StorageClient, StorageFence

N2, N3 = StorageClient("n2", "10.0.0.2"), StorageClient("n3", "10.0.0.3")


class FenceBench(Protocol):
    fence: StorageFence

    def set_mode(self, mode: str) -> None:
        """`works`; `fails`: no answer about n2; `lies`: a cut of n2 is taken and not carried out."""

    def can_write(self, node: str) -> bool:
        """What a writer on that node would find."""


class SimBench:
    def __init__(self) -> None:
        self._sim = SimStorageFence("fast")
        self.fence: StorageFence = self._sim

    def set_mode(self, mode: str) -> None:
        self._sim.works("n2")
        self._sim.fails |= {"n2"} if mode == "fails" else set()
        self._sim.lies |= {"n2"} if mode == "lies" else set()

    def can_write(self, node: str) -> bool:
        return not self._sim.is_cut(node)


@pytest.fixture
def bench() -> FenceBench:
    return SimBench()


def test_a_node_that_is_cut_off_writes_nothing_and_reads_so_and_others_go_on(bench: FenceBench) -> None:
    assert bench.can_write("n2")
    assert not bench.fence.read(N2, 5).off
    for _ in range(2):
        bench.fence.cut(N2, 1, 5)
        assert not bench.can_write("n2")
        seen = bench.fence.read(N2, 5)
        assert seen.off
        assert "n2" in seen.said
    assert bench.can_write("n3")
    assert not bench.fence.read(N3, 5).off


def test_it_gets_back_what_that_cut_took_and_can_be_cut_off_again(bench: FenceBench) -> None:
    bench.fence.restore(N2, 1, 5)
    bench.fence.cut(N2, 2, 5)
    bench.fence.restore(N2, 2, 5)
    assert bench.can_write("n2")
    assert not bench.fence.read(N2, 5).off
    bench.fence.cut(N2, 3, 5)
    assert not bench.can_write("n2")


def test_an_old_order_to_restore_does_not_undo_a_newer_cut(bench: FenceBench) -> None:
    bench.fence.cut(N2, 1, 5)
    bench.fence.cut(N2, 2, 5)
    bench.fence.restore(N2, 1, 5)
    assert not bench.can_write("n2")
    assert bench.fence.read(N2, 5).off


def test_an_order_to_cut_that_comes_after_its_restore_has_no_effect(bench: FenceBench) -> None:
    bench.fence.restore(N2, 4, 5)
    bench.fence.cut(N2, 4, 5)
    assert bench.can_write("n2")


def test_a_pool_that_does_not_answer_says_so_and_changes_nothing(bench: FenceBench) -> None:
    bench.set_mode("fails")
    for order in (
        lambda: bench.fence.cut(N2, 1, 0.2),
        lambda: bench.fence.read(N2, 0.2),
        lambda: bench.fence.restore(N2, 1, 0.2),
    ):
        with pytest.raises(StorageError, match="n2"):
            order()
    assert bench.can_write("n2")
    assert not bench.fence.read(N3, 5).off


def test_reading_shows_what_is_and_not_what_was_asked_for(bench: FenceBench) -> None:
    bench.set_mode("lies")
    bench.fence.cut(N2, 1, 5)
    assert bench.can_write("n2")
    assert not bench.fence.read(N2, 5).off


_orders = st.lists(st.tuples(st.sampled_from(["cut", "restore"]), st.integers(1, 5)), max_size=12)


@given(_orders, st.randoms())
def test_the_order_of_the_orders_changes_nothing(orders: list[tuple[str, int]], random: st.DrawFn) -> None:
    """Coordinators come and go, and what they sent may arrive late or twice."""
    first, second = SimBench(), SimBench()
    shuffled = [*orders, *orders[:2]]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for bench, those in ((first, orders), (second, shuffled)):
        for what, token in those:
            (bench.fence.cut if what == "cut" else bench.fence.restore)(N2, token, 5)
    highest = {w: max((t for what, t in orders if what == w), default=0) for w in ("cut", "restore")}
    assert first.can_write("n2") == second.can_write("n2") == (highest["cut"] <= highest["restore"])
