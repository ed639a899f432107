"""The second heartbeat: small records on a storage that all nodes reach, by another way than Corosync's network."""

from collections.abc import Sequence
from typing import Protocol

from app.domain.storage_heartbeat import Beat, KeepRecord


class HeartbeatLost(Exception):
    """The storage did not take or give a record. The text says what was tried, and why it failed."""


class StorageHeartbeat(Protocol):
    """Each node writes its own records only, so nobody overwrites another's; a record is there whole or not at all.

    What a write that has returned left behind, a read that begins later sees, on any node. That is asked of the storage
    (for NFS: no attribute cache). The leases stay sound if reads are old; see `app/domain/storage_heartbeat.py`.
    """

    def write_beat(self, beat: Beat) -> None:
        """Replace this node's beat, and return when it is on the storage. HeartbeatLost."""

    def beats(self) -> Sequence[Beat]:
        """Every node's newest beat. Records that cannot be understood are left out. HeartbeatLost."""

    def write_keeps(self, record: KeepRecord) -> None:
        """Replace what this node says as the coordinator, and return when it is on the storage. HeartbeatLost."""

    def keeps(self) -> Sequence[KeepRecord]:
        """What every node said last as the coordinator. HeartbeatLost when one of them cannot be read."""
