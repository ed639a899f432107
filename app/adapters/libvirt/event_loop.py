"""libvirt's event loop: one per process, because its default implementation is one per process.

Without it no event arrives and no keepalive is answered. It must be registered before the first
connection is opened. The thread lives as long as the process and holds nothing of any one connection.
"""

import threading
from contextlib import suppress

import libvirt

_started = threading.Event()
_lock = threading.Lock()


def ensure_event_loop() -> None:
    """Register and run the loop unless that happened already. Also keeps libvirt from writing to stderr."""
    with _lock:
        if _started.is_set():
            return
        libvirt.registerErrorHandler(_ignore, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run, name="libvirt-events", daemon=True).start()
        _started.set()


def _ignore(_context: object, _error: object) -> None:
    """Each error also arrives as an exception; printing it twice helps nobody."""


def _run() -> None:
    while True:
        with suppress(libvirt.libvirtError):
            libvirt.virEventRunDefaultImpl()
