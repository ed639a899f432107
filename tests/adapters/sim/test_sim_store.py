"""What the store in memory adds to the port: faults on request, the changes of each commit, and speed."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from app.adapters.sim.store import UNIQUE, Change, MemoryStore
from app.domain.errors import Conflict
from app.domain.records import Project
from app.ports.store import StoreUnavailable, Transaction
from tests.ports.store_samples import vm


def add(store: MemoryStore, name: str) -> Project:
    return store.run(lambda tx: tx.projects.add(Project(0, name)))  # type: ignore[no-any-return]


def names(store: MemoryStore) -> list[str]:
    return [row.name for row in store.run(lambda tx: tx.projects.where())]


def test_one_member_can_be_unavailable_alone() -> None:
    store = MemoryStore()
    other = store.member()
    store.unavailable = True
    add(other, "one")
    with pytest.raises(StoreUnavailable):
        add(store, "two")
    store.unavailable = False
    assert names(store) == ["one"]


def test_a_conflict_does_the_work_again_with_nothing_left_of_the_first_try() -> None:
    store = MemoryStore()
    store.conflicts = 2
    assert add(store, "one").id == 1
    assert names(store) == ["one"]
    store.conflicts = 1000
    with pytest.raises(Conflict):
        add(store, "two")
    store.conflicts = 0
    assert names(store) == ["one"]


def test_an_answer_that_is_lost_leaves_the_row() -> None:
    store = MemoryStore()
    store.answers_lost = 1
    with pytest.raises(StoreUnavailable, match="outcome is unknown"):
        add(store, "one")
    assert names(store) == ["one"]


def test_changes_are_told_after_the_commit_and_only_then() -> None:
    store = MemoryStore()
    told: list[Sequence[Change]] = []
    store.committed = lambda changes: told.append([*changes, *[Change("seen", None, name) for name in names(other)]])
    other = store.member()
    one = add(store, "one")
    store.run(lambda tx: tx.projects.save(replace(one, vms_max=3)))
    assert told == [
        [Change("projects", None, one), Change("seen", None, "one")],
        [Change("projects", one, replace(one, vms_max=3)), Change("seen", None, "one")],
    ]
    with pytest.raises(KeyError):
        store.run(lambda tx: tx.projects.save(replace(one, id=99)))
    assert len(told) == 2


def test_unique_keys_are_those_of_the_tables() -> None:
    from sqlalchemy import UniqueConstraint

    from app.adapters.db.mapping import KINDS

    tables = {
        mapped.kind: {
            tuple(column.name for column in constraint.columns)
            for constraint in mapped.row.__table__.constraints  # type: ignore[attr-defined]
            if isinstance(constraint, UniqueConstraint)
        }
        for mapped in KINDS.values()
    }
    assert {kind: keys for kind, keys in tables.items() if keys} == {kind: set(keys) for kind, keys in UNIQUE.items()}


def test_thousands_of_transactions_a_second_with_a_thousand_vms() -> None:
    """The bound is far above what it takes (0.03 s), so that a busy machine does not fail it."""
    store = MemoryStore()
    rows = store.run(lambda tx: [tx.vms.add(vm(f"vm-{n}", node=f"node-{n % 20}")) for n in range(1000)])
    started = time.perf_counter()

    def grow(vm_id: int, tx: Transaction) -> None:
        row = tx.vms.get(vm_id)
        assert row is not None
        tx.vms.save(replace(row, generation=row.generation + 1))

    for row in rows:
        store.run(partial(grow, row.id))
    store.run(lambda tx: [tx.vms.save(replace(row, priority=1)) for row in rows])
    for n in range(200):
        on_node = store.run(partial(lambda node, tx: tx.vms.where(node=node), f"node-{n % 20}"))
        assert len(on_node) == 50
    assert time.perf_counter() - started < 2
