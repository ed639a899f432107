"""Which database is asked: files that are there or not stand for members that answer or not."""

from pathlib import Path

import pytest

from app.adapters.db import schema
from app.adapters.db.members import Members
from app.adapters.db.store import SqlStore
from app.domain.records import Project
from app.ports.store import StoreUnavailable


class Bench:
    def __init__(self, directory: Path, count: int) -> None:
        self.now = 0.0
        self.directories = [directory / f"m{number}" for number in range(count)]
        self.urls = [f"sqlite:///{one}/state.db" for one in self.directories]
        self.members = Members(self.urls, lambda: self.now)

    def appears(self, number: int) -> None:
        self.directories[number].mkdir()
        schema.upgrade(self.urls[number])

    def order(self) -> list[int]:
        return [member.place for member in self.members.in_order()]

    def fails(self, place: int) -> None:
        self.members.failed(next(m for m in self.members.in_order() if m.place == place))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, 3)


def test_the_preferred_one_is_first(bench: Bench) -> None:
    assert bench.order() == [0, 1, 2]


def test_after_a_failure_the_next_one_is_first(bench: Bench) -> None:
    bench.fails(0)
    assert bench.order() == [1, 2, 0]
    bench.fails(1)
    assert bench.order() == [2, 0, 1]
    bench.fails(0)  # was not the first: another thread's old news
    assert bench.order() == [2, 0, 1]


def test_the_preferred_one_is_used_again_only_when_it_answers(bench: Bench) -> None:
    bench.fails(0)
    bench.now = 4.9
    bench.appears(0)
    assert bench.order() == [1, 2, 0]
    bench.now = 5.0
    assert bench.order() == [0, 1, 2]


def test_a_preferred_one_that_stays_away_is_probed_ever_more_seldom(bench: Bench) -> None:
    bench.fails(0)
    probes = []
    while bench.now < 300:
        bench.now += 1
        before = bench.members._return_at
        bench.order()
        if bench.members._return_at != before:
            probes.append(bench.now)
    assert probes == [5, 15, 35, 75, 135, 195, 255]
    bench.appears(0)
    bench.now = 315
    assert bench.order()[0] == 0


def test_the_store_goes_on_with_the_next_one(bench: Bench) -> None:
    bench.appears(1)
    store = SqlStore(bench.urls)
    store.run(lambda tx: tx.projects.add(Project(0, "one")))
    assert SqlStore(bench.urls[1:2]).run(lambda tx: [p.name for p in tx.projects.where()]) == ["one"]


def test_none_at_all(bench: Bench) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        SqlStore(bench.urls).run(lambda tx: tx.projects.where())
    with pytest.raises(ValueError, match="no database"):
        SqlStore([])


def test_a_database_without_a_schema_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="holdfast db upgrade"):
        SqlStore([f"sqlite:///{tmp_path / 'x.db'}"]).run(lambda tx: tx.projects.where())
