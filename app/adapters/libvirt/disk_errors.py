"""Why did a disk fail, for which QEMU paused its VM: is its storage full, or is it something else?

QEMU's monitor tells, and a QEMU that hangs keeps its caller waiting: so each question has a thread and a connection
to itself, one at a time for each run, and a list goes by the last answer.

`virDomainGetDiskErrors`: https://libvirt.org/html/libvirt-libvirt-domain.html#virDomainGetDiskErrors
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress

import libvirt

from app.adapters.libvirt.guest_signs import Run
from app.adapters.libvirt.session import Session
from app.ports.hypervisor import HypervisorError


class DiskErrors:
    """Asked for runs that are paused for such an error. Thread-safe."""

    def __init__(self, new_session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._new_session = new_session
        self._lock = threading.Lock()
        self._no_space: dict[Run, bool] = {}
        self._asking: set[Run] = set()

    def no_space(self, runs: Iterable[Run]) -> dict[Run, bool]:
        """For those of `runs` (all that are paused so now) of which it is known; each is asked anew, for next time."""
        current = set(runs)
        with self._lock:
            self._no_space = {run: full for run, full in self._no_space.items() if run in current}
            for run in current - self._asking:
                self._asking.add(run)
                threading.Thread(target=self._answer, args=(run,), name="libvirt-disk-error", daemon=True).start()
            return dict(self._no_space)

    def forget(self) -> None:
        """libvirtd was away: its ids may have begun anew."""
        with self._lock:
            self._no_space.clear()

    def _answer(self, run: Run) -> None:
        errors: set[int] = set()
        with suppress(HypervisorError), self._new_session() as session, session.calling("disk errors") as connection:
            domain = connection.lookupByUUIDString(run[0])
            if domain.ID() == run[1]:
                errors = set(domain.diskErrors().values())
        with self._lock:
            self._asking.discard(run)
            if errors:
                self._no_space[run] = libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE in errors
