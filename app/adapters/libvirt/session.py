"""A connection to libvirt that may die, hang and come back.

A call either reaches a living libvirtd or raises `HypervisorUnavailable` soon:

* opening happens in a thread of its own, because `virConnectOpen` waits without end for a daemon that
  accepts and then says nothing; callers wait for it at most `open_timeout_seconds`;
* libvirt's keepalive ends an open connection whose daemon stopped answering, and with it all calls in it.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import libvirt

from app.adapters.libvirt.event_loop import ensure_event_loop
from app.ports.hypervisor import HypervisorError, HypervisorUnavailable

#: Errors of the way to the daemon, not of the operation.
_GONE_CODES = frozenset(
    {libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_RPC, libvirt.VIR_ERR_AUTH_FAILED}
)
_GONE_DOMAINS = frozenset({libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a silent libvirtd: to open, and `interval` x (`count` + 1) on an open connection."""

    open_timeout_seconds: float = 10.0
    keepalive_interval_seconds: int = 2
    keepalive_count: int = 3


class Session:
    """One connection, opened when first needed, shared by all threads (libvirt's connections allow that)."""

    def __init__(
        self,
        uri: str,
        patience: Patience,
        *,
        keepalive: bool = True,
        opened: Callable[[libvirt.virConnect], None] | None = None,
        lost: Callable[[], None] | None = None,
    ) -> None:
        ensure_event_loop()
        self._uri = uri
        self._patience = patience
        self._keepalive = keepalive
        self._opened = opened
        self._lost = lost
        self._changed = threading.Condition()
        self._connection: libvirt.virConnect | None = None
        self._opening = False
        self._attempts_done = 0
        self._error = "not connected yet"
        self._closed = False

    def connection(self) -> libvirt.virConnect:
        """The open connection, opening it first if needed. HypervisorUnavailable says why there is none."""
        deadline = time.monotonic() + self._patience.open_timeout_seconds
        with self._changed:
            if self._connection is not None:
                if _alive(self._connection):
                    return self._connection
                self._drop(self._connection, "the connection broke")
            self._begin_opening()
            attempt = self._attempts_done + 1
            while self._connection is None and self._attempts_done < attempt and not self._closed:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise HypervisorUnavailable(f"libvirt at {self._uri} does not answer")
                self._changed.wait(left)
            if self._connection is None or self._closed:
                raise HypervisorUnavailable(f"libvirt at {self._uri}: {self._error}")
            return self._connection

    @contextmanager
    def calling(self, what: str) -> Iterator[libvirt.virConnect]:
        """The connection for a few calls; libvirt's errors come out as the port's, beginning with `what`."""
        connection = self.connection()
        try:
            yield connection
        except libvirt.libvirtError as error:
            text = f"{what}: {error.get_error_message() or error}"
            if self.is_gone(connection, error):
                raise HypervisorUnavailable(text) from error
            raise HypervisorError(text) from error

    def is_gone(self, connection: libvirt.virConnect, error: libvirt.libvirtError) -> bool:
        """True when the error speaks of the connection; it is then given up and the next call opens a new one."""
        gone = error.get_error_code() in _GONE_CODES or error.get_error_domain() in _GONE_DOMAINS
        if not gone and _alive(connection):
            return False
        with self._changed:
            self._drop(connection, error.get_error_message() or str(error))
        return True

    def close(self) -> None:
        """No calls after this."""
        with self._changed:
            self._closed = True
            self._drop(self._connection, "closed")
            self._changed.notify_all()

    def _begin_opening(self) -> None:
        if self._closed or self._opening:
            return
        self._opening = True
        threading.Thread(target=self._open, name="libvirt-open", daemon=True).start()

    def _open(self) -> None:
        connection, problem = None, ""
        try:
            connection = libvirt.open(self._uri)
            if self._keepalive:
                connection.setKeepAlive(self._patience.keepalive_interval_seconds, self._patience.keepalive_count)
            connection.registerCloseCallback(self._on_close, None)
            if self._opened is not None:
                self._opened(connection)
        except libvirt.libvirtError as error:
            problem = error.get_error_message() or str(error)
            _close(connection)
            connection = None
        with self._changed:
            self._opening = False
            self._attempts_done += 1
            if not self._closed:
                self._connection, self._error = connection, problem
                connection = None
            self._changed.notify_all()
        _close(connection)

    def _on_close(self, connection: libvirt.virConnect, reason: int, _opaque: object) -> None:
        """In libvirt's event thread: note it and return."""
        words = {
            libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirtd went away",
            libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirtd does not answer",
        }
        with self._changed:
            self._drop(connection, words.get(reason, "the connection was closed"))
        if self._lost is not None and not self._closed:
            self._lost()

    def _drop(self, connection: libvirt.virConnect | None, why: str) -> None:
        if connection is None or connection is not self._connection:
            return
        self._connection, self._error = None, why
        # Closing can wait for libvirt's event thread, which may wait for our lock: not here.
        threading.Thread(target=_close, args=(connection,), name="libvirt-close", daemon=True).start()


class Sessions:
    """Sessions that have one user at a time: a call that a hung QEMU keeps waiting keeps nobody else waiting.

    One that came back without an error is used again. For what is asked again and again: to connect costs more than to
    ask, here and in libvirtd, and one that was kept may turn out to be broken, which only a question can bear.
    """

    def __init__(self, make: Callable[[], Session], spare_max: int = 4) -> None:
        self._make = make
        self._spare_max = spare_max
        self._lock = threading.Lock()
        self._spare: list[Session] = []
        self._closed = False

    @contextmanager
    def own(self) -> Iterator[Session]:
        """Nobody else's until the end of the block."""
        with self._lock:
            session = self._spare.pop() if self._spare else None
        session = session or self._make()
        try:
            yield session
        except BaseException:
            session.close()
            raise
        with self._lock:
            kept = not self._closed and len(self._spare) < self._spare_max
            if kept:
                self._spare.append(session)
        if not kept:
            session.close()

    def close(self) -> None:
        """Those that are in use are closed when they come back."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, []
        for session in spare:
            session.close()


def _alive(connection: libvirt.virConnect) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _close(connection: libvirt.virConnect | None) -> None:
    if connection is None:
        return
    with suppress(libvirt.libvirtError):
        connection.unregisterCloseCallback()
    with suppress(libvirt.libvirtError):
        connection.close()
