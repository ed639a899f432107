"""The C side of Corosync 3: constants, layouts, prototypes, and the check of every return code.

Sources: <corosync/corotypes.h>, <corosync/quorum.h>, <corosync/cpg.h> (Debian: libquorum-dev, libcpg-dev).
Nothing else in the product knows a C layout of Corosync.
"""

import time
from collections.abc import Callable
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_int,
    c_size_t,
    c_uint,
    c_uint32,
    c_uint64,
    c_void_p,
)
from functools import cache
from typing import Any, Generic, TypeVar

# cs_error_t, corotypes.h
CS_OK = 1
CS_ERR_TRY_AGAIN = 6
_ERRORS = {
    2: "the connection to corosync failed or corosync is not running",
    3: "another version of corosync",
    4: "not initialized",
    5: "timed out",
    CS_ERR_TRY_AGAIN: "busy, it did not become free in time",
    7: "invalid parameter",
    8: "out of memory",
    9: "bad handle",
    11: "access denied: run as root or allow this user in corosync's uidgid.d",
    12: "does not exist",
    14: "exists already",
    17: "name not found",
    18: "out of resources",
    19: "not supported",
    22: "incorrect authentication message",
    26: "message too big",
    100: "security error",
}

# cs_dispatch_flags_t and CS_TRACK_*, corotypes.h
CS_DISPATCH_ALL = 2
CS_DISPATCH_ONE_NONBLOCKING = 4
CS_TRACK_CURRENT = 0x01
CS_TRACK_CHANGES = 0x02

# quorum.h: `quorum_type` when a quorum provider is configured
QUORUM_SET = 1

# cpg.h
CPG_TYPE_AGREED = 2
CPG_MAX_NAME_LENGTH = 128

TRY_AGAIN_SECONDS_MAX = 2.0
_TRY_AGAIN_PAUSE_SECONDS = 0.02


class CpgAddress(Structure):
    """struct cpg_address"""

    _fields_ = (("nodeid", c_uint32), ("pid", c_uint32), ("reason", c_uint32))


class CpgName(Structure):
    """struct cpg_name"""

    _fields_ = (("length", c_uint32), ("value", c_char * CPG_MAX_NAME_LENGTH))


class IoVec(Structure):
    """struct iovec, <sys/uio.h>"""

    _fields_ = (("base", c_void_p), ("length", c_size_t))


# quorum_notification_fn_t(handle, quorate, ring_seq, view_list_entries, view_list)
QuorumNotification = CFUNCTYPE(None, c_uint64, c_uint32, c_uint64, c_uint32, POINTER(c_uint32))
# cpg_deliver_fn_t(handle, group_name, nodeid, pid, msg, msg_len)
CpgDeliver = CFUNCTYPE(None, c_uint64, POINTER(CpgName), c_uint32, c_uint32, c_void_p, c_size_t)
# cpg_confchg_fn_t(handle, group_name, members, count, left, count, joined, count)
CpgConfchg = CFUNCTYPE(
    None,
    c_uint64,
    POINTER(CpgName),
    POINTER(CpgAddress),
    c_size_t,
    POINTER(CpgAddress),
    c_size_t,
    POINTER(CpgAddress),
    c_size_t,
)


class QuorumCallbacks(Structure):
    """quorum_callbacks_t"""

    _fields_ = (("quorum_notify_fn", QuorumNotification),)


class CpgCallbacks(Structure):
    """cpg_callbacks_t"""

    _fields_ = (("cpg_deliver_fn", CpgDeliver), ("cpg_confchg_fn", CpgConfchg))


_QUORUM_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "quorum_initialize": (POINTER(c_uint64), POINTER(QuorumCallbacks), POINTER(c_uint32)),
    "quorum_finalize": (c_uint64,),
    "quorum_fd_get": (c_uint64, POINTER(c_int)),
    "quorum_dispatch": (c_uint64, c_int),
    "quorum_trackstart": (c_uint64, c_uint),
}
_CPG_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "cpg_initialize": (POINTER(c_uint64), POINTER(CpgCallbacks)),
    "cpg_finalize": (c_uint64,),
    "cpg_fd_get": (c_uint64, POINTER(c_int)),
    "cpg_dispatch": (c_uint64, c_int),
    "cpg_join": (c_uint64, POINTER(CpgName)),
    "cpg_mcast_joined": (c_uint64, c_int, POINTER(IoVec), c_uint),
}


class CorosyncError(Exception):
    """Corosync refused a call, is gone, or its library is not installed."""


@cache
def quorum_library() -> CDLL:
    """libquorum. Raises CorosyncError when it is not installed."""
    return _load("libquorum.so.5", "libquorum5", _QUORUM_PROTOTYPES)


@cache
def cpg_library() -> CDLL:
    """libcpg. Raises CorosyncError when it is not installed."""
    return _load("libcpg.so.4", "libcpg4", _CPG_PROTOTYPES)


def _load(name: str, package: str, prototypes: dict[str, tuple[Any, ...]]) -> CDLL:
    try:
        library = CDLL(name)
    except OSError as error:
        raise CorosyncError(f"{error}; install the package {package}") from error
    for function, arguments in prototypes.items():
        library[function].argtypes = arguments
        library[function].restype = c_int
    return library


def check(call: str, code: int) -> None:
    """Raises CorosyncError for every code but CS_OK."""
    if code != CS_OK:
        raise CorosyncError(f"{call}: error {code}, {_ERRORS.get(code, 'see cs_error_t in corotypes.h')}")


def call(library: CDLL, function: str, *arguments: Any) -> None:
    """Call it until it is not busy, for TRY_AGAIN_SECONDS_MAX. Raises CorosyncError."""
    deadline = time.monotonic() + TRY_AGAIN_SECONDS_MAX
    code: int = library[function](*arguments)
    while code == CS_ERR_TRY_AGAIN and time.monotonic() < deadline:
        time.sleep(_TRY_AGAIN_PAUSE_SECONDS)
        code = library[function](*arguments)
    check(function, code)


T = TypeVar("T")


class Collected(Generic[T]):
    """The facts that C callbacks leave for us. An exception in a callback is kept, and raised by `take`.

    ctypes would only print it, and C would go on as if the fact had been taken in.
    """

    def __init__(self) -> None:
        self._facts: list[T] = []
        self._error: BaseException | None = None

    def by(self, fill: Callable[..., T]) -> Callable[..., None]:
        """A callback that keeps what `fill` makes of its arguments."""

        def callback(*arguments: Any) -> None:
            try:
                self._facts.append(fill(*arguments))
            except BaseException as error:  # noqa: BLE001  it must not cross C; `take` raises it
                self._error = error

        return callback

    def take(self) -> list[T]:
        """All facts since the last time, in their order."""
        if self._error is not None:
            error, self._error = self._error, None
            raise CorosyncError("a callback failed, what it was told is lost") from error
        facts, self._facts = self._facts, []
        return facts
