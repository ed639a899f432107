"""libvirt's events to one bare signal, "look again", over all losses of the connection."""

import threading
from collections.abc import Callable

import libvirt

from app.adapters.libvirt.session import Session
from app.ports.hypervisor import HypervisorUnavailable

_EVENTS = (
    libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_REBOOT,
    libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON,
    libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
    libvirt.VIR_DOMAIN_EVENT_ID_WATCHDOG,
)
_BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Watcher:
    """Keeps a session open and tells `changed` of every event, and of every loss and return of libvirtd."""

    def __init__(self, forget: Callable[[], None]) -> None:
        self._forget = forget
        self._changed: Callable[[], None] | None = None
        self._lost = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self, session: Session, changed: Callable[[], None]) -> None:
        """Begin; a second call only replaces `changed`."""
        self._changed = changed
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_open, args=(session,), name="libvirt-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """No `changed` after this; the thread ends at its next turn."""
        self._stopped = True
        self._changed = None
        self._lost.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def subscribe(self, connection: libvirt.virConnect) -> None:
        """Ask a new connection for its events, and look what was missed. libvirtError: the connection is no good."""
        for event in _EVENTS:
            connection.domainEventRegisterAny(None, event, self._on_event, None)
        self._forget()
        self.tell()

    def connection_lost(self) -> None:
        """In libvirt's event thread."""
        self._lost.set()
        self.tell()

    def _on_event(self, *_details: object) -> None:
        """In libvirt's event thread. The parameters differ by event and none is needed: the level is read."""
        self.tell()

    def tell(self) -> None:
        """Something may have changed. From any thread."""
        changed = self._changed
        if changed is not None:
            changed()

    def _keep_open(self, session: Session) -> None:
        tries = 0
        while not self._stopped:
            # Cleared first: a loss between opening and waiting is then not missed.
            self._lost.clear()
            try:
                session.connection()
                tries, pause = 0, 1.0
            except HypervisorUnavailable:
                pause = _BACKOFF_SECONDS[min(tries, len(_BACKOFF_SECONDS) - 1)]
                tries += 1
            self._lost.wait(pause)
