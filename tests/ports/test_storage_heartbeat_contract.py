"""The port `StorageHeartbeat`, on the simulated storage and on a directory that two nodes share."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from app.adapters.heartbeat import DirectoryHeartbeat
from app.adapters.sim.clock import SimClock
from app.adapters.sim.storage_heartbeat import SimBeats, SimHeartbeat
from app.domain.storage_heartbeat import Beat, Keep, KeepRecord
from app.ports.storage_heartbeat import HeartbeatLost, StorageHeartbeat

FULL = Beat("n1", "boot-1", 12_345, quorate=False, storage_ok=False, gave_up=True, vms=None)


class SimBench:
    def __init__(self) -> None:
        self.storage = SimBeats(SimClock().monotonic, Random(1))

    def of(self, node: str) -> StorageHeartbeat:
        return SimHeartbeat(self.storage, node)

    def lose(self, node: str) -> None:
        self.storage.lost.add(node)

    def back(self, node: str) -> None:
        self.storage.lost.discard(node)


class DirectoryBench:
    """Its loss is that of a share that is not mounted: the mount point is empty."""

    def __init__(self, root: Path) -> None:
        self._root = root
        (root / "images").mkdir()

    def of(self, node: str) -> StorageHeartbeat:
        return DirectoryHeartbeat(self._root, node)

    def lose(self, _node: str) -> None:
        (self._root / "images").rmdir()

    def back(self, _node: str) -> None:
        (self._root / "images").mkdir()


Bench = SimBench | DirectoryBench


@pytest.fixture(params=["simulated", "directory"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    made: dict[str, Callable[[], Bench]] = {"simulated": SimBench, "directory": lambda: DirectoryBench(tmp_path)}
    return made[request.param]()


def test_before_anybody_wrote_there_is_nothing(bench: Bench) -> None:
    assert list(bench.of("n1").beats()) == []
    assert list(bench.of("n1").keeps()) == []


def test_everybody_reads_what_each_wrote_last(bench: Bench) -> None:
    one, two = bench.of("n1"), bench.of("n2")
    one.write_beat(Beat("n1", "boot-1", 1, quorate=True, vms=2))
    one.write_beat(FULL)
    two.write_beat(Beat("n2", "boot-7", 5, quorate=True, vms=0))
    for reader in (one, two, bench.of("n3")):
        assert {b.node: b for b in reader.beats()} == {
            "n1": FULL,
            "n2": Beat("n2", "boot-7", 5, quorate=True, vms=0),
        }


def test_no_coordinator_overwrites_another(bench: Bench) -> None:
    """A node must see that there is a higher epoch, also after the one that was replaced has written again."""
    old = KeepRecord("n1", 5, {"n3": Keep("boot-1", 77)})
    new = KeepRecord("n2", 6, {}, ("n3",))
    bench.of("n1").write_keeps(old)
    bench.of("n2").write_keeps(new)
    bench.of("n1").write_keeps(old)
    assert {r.epoch: r for r in bench.of("n3").keeps()} == {5: old, 6: new}


def test_a_beat_is_no_keep(bench: Bench) -> None:
    bench.of("n1").write_beat(FULL)
    assert list(bench.of("n1").keeps()) == []


def test_a_storage_that_is_lost_says_so_and_comes_back(bench: Bench) -> None:
    one = bench.of("n1")
    one.write_beat(FULL)
    bench.lose("n1")
    for call in (lambda: one.write_beat(FULL), one.beats, lambda: one.write_keeps(KeepRecord("n1", 1)), one.keeps):
        with pytest.raises(HeartbeatLost):
            call()
    bench.back("n1")
    assert list(one.beats()) == [FULL]


def test_a_share_that_is_not_mounted_is_not_made_up(tmp_path: Path) -> None:
    with pytest.raises(HeartbeatLost, match="is the file system mounted"):
        DirectoryHeartbeat(tmp_path, "n1").write_beat(FULL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "{", '{"node": "n1"}', '{"node": "n2", "boot": "b", "counter": 1, "quorate": true}']
)
def test_a_beat_that_is_not_understood_is_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "images").mkdir()
    one = DirectoryHeartbeat(tmp_path, "n1")
    one.write_beat(FULL)
    (tmp_path / "heartbeat" / "n1.beat").write_text(text)
    assert list(one.beats()) == []


@pytest.mark.parametrize("text", ["", "{", '{"leader": "n2"}', "[" * 100])
def test_a_keep_that_is_not_understood_may_be_the_newest(tmp_path: Path, text: str) -> None:
    """So nothing is known: to leave it out would be to obey the one before."""
    (tmp_path / "images").mkdir()
    one = DirectoryHeartbeat(tmp_path, "n1")
    one.write_keeps(KeepRecord("n1", 5, {"n3": Keep("boot-1", 77)}))
    (tmp_path / "heartbeat" / "n2.keeps").write_text(text)
    with pytest.raises(HeartbeatLost, match=r"n2\.keeps is not understood"):
        one.keeps()


def test_a_file_where_the_directory_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "heartbeat").write_text("")
    with pytest.raises(HeartbeatLost, match="heartbeat"):
        DirectoryHeartbeat(tmp_path, "n1").write_beat(FULL)


def test_what_a_crash_left_behind_is_no_record(tmp_path: Path) -> None:
    """Killed between the writing and the renaming: the old record stands, and the next one takes its place."""
    (tmp_path / "images").mkdir()
    one = DirectoryHeartbeat(tmp_path, "n1")
    one.write_beat(FULL)
    (tmp_path / "heartbeat" / ".n1.beat.new").write_text('{"nod')
    assert list(one.beats()) == [FULL]
    newer = Beat("n1", "boot-1", 99_999, quorate=True)
    one.write_beat(newer)
    assert list(one.beats()) == [newer]
