"""For how long has a guest's agent been silent? Asked beside everything else, without ever holding up a list.

Only a guest whose agent has its channel open is asked: one without an agent says nothing, and is not watched. A
channel stays open when the guest hangs, and is closed by a reset, so what is known of a run needs no memory of an
earlier answer. Silence counts from the end of the first question that had no answer: a host that stood still itself
must not take that time for its guest's.

`guest-ping`: https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

import libvirt
import libvirt_qemu

from app.adapters.libvirt.guest_signs import Run, agent_connected
from app.adapters.libvirt.session import Session
from app.ports.hypervisor import HypervisorError

#: AGENT_COMMAND_TIMEOUT (112) is newer than the bindings of Debian 12
_NO_ANSWER = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, getattr(libvirt, "VIR_ERR_AGENT_COMMAND_TIMEOUT", 112))


@dataclass
class _Hearing:
    """What is known of one run. `silent_since` by the monotonic clock, None while it answers or has no agent."""

    asked_at: float
    silent_since: float | None = None


class GuestSilence:
    """Asks each run that often, one question at a time for each. Thread-safe."""

    def __init__(
        self,
        new_session: Callable[[], AbstractContextManager[Session]],
        interval_seconds: float = 5.0,
        answer_seconds: int = 5,
    ) -> None:
        self._new_session = new_session
        self._interval_seconds = interval_seconds
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._known: dict[Run, _Hearing] = {}
        self._asking: set[Run] = set()

    def seconds(self, runs: Iterable[Run]) -> dict[Run, float]:
        """The silence of those of `runs` (all that run now) that are silent; those that are due are asked."""
        now, current = time.monotonic(), set(runs)
        with self._lock:
            self._known = {run: hearing for run, hearing in self._known.items() if run in current}
            for run in current - self._asking:
                hearing = self._known.get(run)
                if hearing is None or now - hearing.asked_at >= self._interval_seconds:
                    self._ask(run, now)
            silent = {run: h.silent_since for run, h in self._known.items() if h.silent_since is not None}
        return {run: now - since for run, since in silent.items()}

    def forget(self) -> None:
        """libvirtd was away: its ids may have begun anew."""
        with self._lock:
            self._known.clear()

    def _ask(self, run: Run, now: float) -> None:
        self._known.setdefault(run, _Hearing(now)).asked_at = now
        self._asking.add(run)
        threading.Thread(target=self._answer, args=(run,), name="libvirt-guest-ping", daemon=True).start()

    def _answer(self, run: Run) -> None:
        answered: bool | None = None  # None: nothing can be said, what was known stays
        with suppress(HypervisorError), self._new_session() as session, session.calling("guest-ping") as connection:
            domain = connection.lookupByUUIDString(run[0])
            if domain.ID() == run[1]:
                answered = not agent_connected(domain) or self._ping(domain)
        with self._lock:
            self._asking.discard(run)
            hearing = self._known.get(run)
            if hearing is None or answered is None:
                return
            if answered:
                hearing.silent_since = None
            elif hearing.silent_since is None:
                hearing.silent_since = time.monotonic()

    def _ping(self, domain: libvirt.virDomain) -> bool:
        """An error of the agent is an answer too."""
        try:
            libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-ping"}', self._answer_seconds, 0)
        except libvirt.libvirtError as error:
            return error.get_error_code() not in _NO_ANSWER
        return True
