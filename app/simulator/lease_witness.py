"""Who may run VMs outside of every quorate ring: the witness of the leases, by what is on the storage and nothing else.

It reckons anew what a node may do: from the records of the coordinators, and by figures of its own.
"""

from dataclasses import dataclass

from app.domain.storage_heartbeat import KeepRecord, was_kept
from app.simulator.cluster import SimCluster

#: how long a lease lasts; the cores have their own figure, checked by this
KEEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Kept:
    """One keep: when the beat that it echoes began, its epoch, and when it was on the storage; by the true time."""

    began: float
    epoch: int
    at: float


class LeaseWitness:
    """`drift`: by how much a clock can be too slow; `found` takes what is wrong with a keep itself."""

    def __init__(self, cluster: SimCluster, drift: float, found: list[str]) -> None:
        self._found = found
        self._cluster, self._lease_seconds = cluster, KEEP_SECONDS * (1 + drift) + 0.001
        self._kept: dict[str, list[_Kept]] = {n: [] for n in cluster.servers}
        #: (when the first record of an epoch was on the storage, the epoch)
        self._epochs: list[tuple[float, int]] = []
        #: nodes that were shown old versions: these may obey an epoch that is over
        self._misled: set[str] = set()
        #: node -> when it came into the quorate ring that it is in, or was in last
        self._came_in: dict[str, float] = {}
        #: node -> until when the lease would have held that it had when it came into the ring
        self._left: dict[str, float] = {}
        cluster.beats.wrote = self._wrote

    def in_the_ring(self, node: str, outside_since: float | None) -> None:
        """It is in a quorate ring; the time: since when it was outside until now, if it was."""
        if outside_since is not None:
            self._left[node] = self.over_at(node, outside_since)
        if outside_since is not None or node not in self._came_in:
            self._came_in[node] = self._cluster.clock.monotonic()

    def left_until(self, node: str) -> float:
        """What began under the lease with which it came into the ring may end until then."""
        return self._left.get(node, 0.0)

    def over_at(self, node: str, since: float) -> float:
        """When the last lease is over that this node may have, which is outside since then. In the past without one.

        A lease counts that was given in this absence, for a beat from after the node was let into the ring before: an
        earlier isolation's keep says nothing. That beat may be from before the others formed a ring without the node,
        which may be the first to hear no more of them.
        """
        now = self._cluster.clock.monotonic()
        self._misled |= self._cluster.beats.stale
        came_in = self._came_in.get(node, 0.0)
        good = [k for k in self._kept[node] if since < k.at <= now and k.began > came_in and self._newest(node, k)]
        return max((k.began + self._lease_seconds for k in good), default=since)

    def _newest(self, node: str, kept: _Kept) -> bool:
        """True unless a higher epoch was on the storage already when the node began to write that beat."""
        return node in self._misled or not any(e > kept.epoch and at < kept.began for at, e in self._epochs)

    def _wrote(self, record: KeepRecord) -> None:
        now = self._cluster.clock.monotonic()
        self._misled |= self._cluster.beats.stale
        if all(e != record.epoch for _, e in self._epochs):
            self._epochs.append((now, record.epoch))
        for node, keep in record.keeps.items():
            if not any(was_kept(i) for i in self._cluster.incidents_of(node)):
                self._found.append(f"{record.leader} keeps {node}, and no incident says so: the next one will not know")
            drift = self._cluster.servers[node].layout.clock_drift_ppm / 1e6
            # the counter is cut to whole milliseconds
            self._kept[node].append(_Kept((keep.counter + 1) / 1000 / (1 + drift), record.epoch, now))
