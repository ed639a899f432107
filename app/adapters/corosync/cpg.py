"""libcpg: one connection in one closed process group: who is in it, and messages to all of them."""

from ctypes import byref, c_char_p, c_int, c_uint64, c_void_p, cast, string_at
from dataclasses import dataclass
from typing import Any

from app.adapters.corosync.abi import (
    CPG_TYPE_AGREED,
    CS_DISPATCH_ONE_NONBLOCKING,
    CS_ERR_TRY_AGAIN,
    Collected,
    CorosyncError,
    CpgCallbacks,
    CpgConfchg,
    CpgDeliver,
    CpgName,
    IoVec,
    call,
    check,
    cpg_library,
)

#: in one dispatch at most so many, so that a flood on one connection cannot hold up the others
DISPATCH_MAX = 64

Process = tuple[int, int]
"""(corosync's node id, process id)"""


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """One configuration change: the processes in the group now, those that went, those that came."""

    members: frozenset[Process]
    left: frozenset[Process]
    joined: frozenset[Process]


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message, in the same order at all members; the sender gets it too."""

    sender: Process
    payload: bytes


class CpgConnection:
    """A member of one group (a handle can be in one only). Used by one thread."""

    def __init__(self, group: str) -> None:
        """Connect and join. Raises CorosyncError."""
        self._library = cpg_library()
        self._collected: Collected[GroupSeen | Delivered] = Collected()
        # C keeps the pointers only: the callbacks must live as long as the handle
        self._callbacks = CpgCallbacks(
            CpgDeliver(self._collected.by(_delivered)), CpgConfchg(self._collected.by(_group_seen))
        )
        self._handle = c_uint64()
        call(self._library, "cpg_initialize", byref(self._handle), byref(self._callbacks))
        try:
            value = group.encode()
            call(self._library, "cpg_join", self._handle, byref(CpgName(len(value), value)))
            fd = c_int()
            call(self._library, "cpg_fd_get", self._handle, byref(fd))
        except CorosyncError:
            self.close()
            raise
        self.fd: int = fd.value

    def dispatch(self) -> list[GroupSeen | Delivered]:
        """Up to DISPATCH_MAX of what has come since the last time; never waits. Raises CorosyncError."""
        for _ in range(DISPATCH_MAX):
            code: int = self._library["cpg_dispatch"](self._handle, CS_DISPATCH_ONE_NONBLOCKING)
            if code == CS_ERR_TRY_AGAIN:  # nothing more
                break
            check("cpg_dispatch", code)
        return self._collected.take()

    def send(self, payload: bytes) -> bool:
        """To all members. False when corosync cannot take it now (it changes its membership). Raises CorosyncError."""
        vector = IoVec(cast(c_char_p(payload), c_void_p), len(payload))
        code: int = self._library["cpg_mcast_joined"](self._handle, CPG_TYPE_AGREED, byref(vector), 1)
        if code == CS_ERR_TRY_AGAIN:
            return False
        check("cpg_mcast_joined", code)
        return True

    def close(self) -> None:
        """Leave and disconnect. What corosync answers does not matter: it may be gone."""
        self._library["cpg_finalize"](self._handle)


def _processes(addresses: Any, count: int) -> frozenset[Process]:
    return frozenset((addresses[i].nodeid, addresses[i].pid) for i in range(count))


def _group_seen(
    _handle: int,
    _group: Any,
    members: Any,
    members_count: int,
    left: Any,
    left_count: int,
    joined: Any,
    joined_count: int,
) -> GroupSeen:
    return GroupSeen(_processes(members, members_count), _processes(left, left_count), _processes(joined, joined_count))


def _delivered(_handle: int, _group: Any, node_id: int, pid: int, message: int | None, length: int) -> Delivered:
    return Delivered((node_id, pid), string_at(message, length) if message else b"")
