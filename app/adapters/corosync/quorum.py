"""libquorum: which nodes are in this partition, and whether it may act."""

from ctypes import byref, c_int, c_uint32, c_uint64
from dataclasses import dataclass
from typing import Any

from app.adapters.corosync.abi import (
    CS_DISPATCH_ALL,
    CS_TRACK_CHANGES,
    CS_TRACK_CURRENT,
    QUORUM_SET,
    Collected,
    CorosyncError,
    QuorumCallbacks,
    QuorumNotification,
    call,
    quorum_library,
)


@dataclass(frozen=True, slots=True)
class QuorumSeen:
    """One notification: the ids of the nodes of the ring, and quorate or not, decided together."""

    members: frozenset[int]
    quorate: bool


class QuorumConnection:
    """One connection, told of the present state and of every change. Used by one thread."""

    def __init__(self) -> None:
        """Connect. Raises CorosyncError, also when corosync.conf names no quorum provider.

        Without a provider corosync calls every partition quorate: two halves of a cluster would both act.
        """
        self._library = quorum_library()
        self._collected: Collected[QuorumSeen] = Collected()
        # C keeps the pointers only: the callback must live as long as the handle
        self._callbacks = QuorumCallbacks(QuorumNotification(self._collected.by(_seen)))
        self._handle = c_uint64()
        kind = c_uint32()
        call(self._library, "quorum_initialize", byref(self._handle), byref(self._callbacks), byref(kind))
        try:
            if kind.value != QUORUM_SET:
                raise CorosyncError("corosync has no quorum provider: set quorum.provider in corosync.conf")
            call(self._library, "quorum_trackstart", self._handle, CS_TRACK_CURRENT | CS_TRACK_CHANGES)
            fd = c_int()
            call(self._library, "quorum_fd_get", self._handle, byref(fd))
        except CorosyncError:
            self.close()
            raise
        self.fd: int = fd.value

    def dispatch(self) -> list[QuorumSeen]:
        """What has been told since the last time; never waits. Raises CorosyncError."""
        call(self._library, "quorum_dispatch", self._handle, CS_DISPATCH_ALL)
        return self._collected.take()

    def close(self) -> None:
        """Disconnect. What corosync answers does not matter: it may be gone."""
        self._library["quorum_finalize"](self._handle)


def _seen(_handle: int, quorate: int, _ring_seq: int, count: int, members: Any) -> QuorumSeen:
    # A starting corosync that is a cluster of one calls itself quorate before it has formed its ring.
    return QuorumSeen(frozenset(members[i] for i in range(count)), bool(quorate) and count > 0)
