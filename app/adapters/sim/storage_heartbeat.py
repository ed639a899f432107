"""The heartbeat over storage in virtual time, with what goes wrong with a storage."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from app.domain.storage_heartbeat import Beat, KeepRecord
from app.ports.storage_heartbeat import HeartbeatLost

V = TypeVar("V")

#: how old at most what a node reads while its readings are stale
STALE_SECONDS = 6.0
_KEPT_VERSIONS = 64


@dataclass
class SimBeats:
    """The storage of all nodes. `lost`: nodes that do not reach it; `stale`: nodes to which it shows old versions, of
    each record another; `slow`: by how many seconds at most what a node asks of it comes late.

    `wrote(record)` is told of each record of a coordinator when it is on the storage.
    """

    now: Callable[[], float]
    random: Random
    lost: set[str] = field(default_factory=set)
    stale: set[str] = field(default_factory=set)
    slow: dict[str, float] = field(default_factory=dict)
    wrote: Callable[[KeepRecord], None] = lambda _record: None
    _beats: dict[str, list[tuple[float, Beat]]] = field(default_factory=dict)
    _records: dict[str, list[tuple[float, KeepRecord]]] = field(default_factory=dict)

    def put_beat(self, beat: Beat) -> None:
        _append(self._beats.setdefault(beat.node, []), (self.now(), beat))

    def put_record(self, record: KeepRecord) -> None:
        _append(self._records.setdefault(record.leader, []), (self.now(), record))
        self.wrote(record)

    def beats(self, reader: str) -> Sequence[Beat]:
        return [b for versions in self._beats.values() for b in self._version(reader, versions)]

    def records(self, reader: str) -> Sequence[KeepRecord]:
        return [r for versions in self._records.values() for r in self._version(reader, versions)]

    def latency(self, node: str) -> float:
        """How long the next piece of work takes."""
        return self.random.uniform(0.005, 0.05) + self.random.uniform(0, self.slow.get(node, 0.0))

    def _version(self, reader: str, versions: list[tuple[float, V]]) -> list[V]:
        age = self.random.uniform(0, STALE_SECONDS) if reader in self.stale else 0.0
        return [v for at, v in versions if at <= self.now() - age][-1:]


def _append(versions: list[V], one: V) -> None:
    versions.append(one)
    del versions[:-_KEPT_VERSIONS]


class SimHeartbeat:
    """The port of one node. `reaches` False: its way to the storage is gone."""

    def __init__(self, storage: SimBeats, node: str, reaches: Callable[[], bool] = lambda: True) -> None:
        self._storage, self._node, self._reaches = storage, node, reaches

    def write_beat(self, beat: Beat) -> None:
        """See `StorageHeartbeat.write_beat`."""
        self._reached().put_beat(beat)

    def beats(self) -> Sequence[Beat]:
        """See `StorageHeartbeat.beats`."""
        return self._reached().beats(self._node)

    def write_keeps(self, record: KeepRecord) -> None:
        """See `StorageHeartbeat.write_keeps`."""
        self._reached().put_record(record)

    def keeps(self) -> Sequence[KeepRecord]:
        """See `StorageHeartbeat.keeps`."""
        return self._reached().records(self._node)

    def _reached(self) -> SimBeats:
        if self._node in self._storage.lost or not self._reaches():
            raise HeartbeatLost("the storage of the heartbeat does not answer")
        return self._storage
