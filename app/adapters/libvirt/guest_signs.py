"""Has the guest in a running domain shown a sign of life? Asked without ever waiting for a hung QEMU.

A sign is a write to any of its disks in this run, or a connected guest agent. It cannot be unseen, so each
run (domain UUID and libvirt's id, new at every start) is asked until the first sign and never after it.

Block statistics come from QEMU's monitor, and a QEMU that hangs (dead storage under it, SIGSTOP) keeps its
caller waiting. So each question has a thread and a connection to itself, one at a time for each run; `alive`
waits for the answers only briefly and goes by what is known.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress

import libvirt
from lxml import etree

from app.adapters.libvirt.session import Session
from app.ports.hypervisor import HypervisorError

#: One run of a domain: its UUID and the id libvirt gave to this start.
Run = tuple[str, int]


class GuestSigns:
    """Which runs showed a sign. Thread-safe."""

    def __init__(self, new_session: Callable[[], AbstractContextManager[Session]], wait_seconds: float = 0.5) -> None:
        self._new_session = new_session
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._alive: set[Run] = set()
        self._asking: dict[Run, threading.Thread] = {}

    def alive(self, runs: Iterable[Run]) -> set[Run]:
        """Those of `runs` (all that run now) that showed a sign; what is known of others is forgotten."""
        current = set(runs)
        with self._lock:
            self._alive &= current
            asked = [self._ask(run) for run in current - self._alive if run not in self._asking]
        deadline = time.monotonic() + self._wait_seconds
        for thread in asked:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            return self._alive & current

    def forget(self) -> None:
        """libvirtd was away: its ids may have begun anew."""
        with self._lock:
            self._alive.clear()

    def _ask(self, run: Run) -> threading.Thread:
        thread = threading.Thread(target=self._answer, args=(run,), name="libvirt-guest-sign", daemon=True)
        self._asking[run] = thread
        thread.start()
        return thread

    def _answer(self, run: Run) -> None:
        sign = False
        # A domain that just went away, a libvirtd that is gone: no sign, and the next list asks again.
        with suppress(HypervisorError), self._new_session() as session, session.calling("signs of life") as connection:
            domain = connection.lookupByUUIDString(run[0])
            sign = domain.ID() == run[1] and (_wrote(connection, domain) or agent_connected(domain))
        with self._lock:
            self._asking.pop(run, None)
            if sign:
                self._alive.add(run)


def _wrote(connection: libvirt.virConnect, domain: libvirt.virDomain) -> bool:
    """NOWAIT: while another job of this domain runs, libvirt leaves the statistics out instead of waiting."""
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    answers = connection.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_BLOCK, flags)
    return any(
        value > 0
        for _, stats in answers
        for key, value in stats.items()
        if key.startswith("block.") and key.endswith(".wr.reqs")
    )


def agent_connected(domain: libvirt.virDomain) -> bool:
    """The guest has its end of the agent's channel open."""
    live = etree.fromstring(domain.XMLDesc(0))
    return bool(live.xpath("devices/channel/target[@name='org.qemu.guest_agent.0'][@state='connected']"))
