"""Live migration by libvirt, peer to peer: this node's libvirtd connects to the target's and carries the memory over.

The flags carry the theory of `app.domain.migration`:
* PAUSED: the copy at the target stands still after the hand-over until its agent resumes it;
* PERSIST_DEST, and no UNDEFINE_SOURCE: both ends keep a definition. The one here then says that it is off because it
  was migrated (VIR_DOMAIN_SHUTOFF_MIGRATED, src/qemu/qemu_migration.c: qemuMigrationSrcConfirmPhase), which is the
  evidence;
* AUTO_CONVERGE: QEMU slows a guest that changes its memory faster than the network carries it.

The call lasts as long as the migration, so it has a thread and a connection of its own. It is libvirtd that migrates:
when our process dies it goes on, and `facts` finds it again.
"""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import libvirt
from lxml import etree

from app.adapters.libvirt.identity import METADATA_URI
from app.adapters.libvirt.session import Session
from app.domain.events import MoveFact
from app.ports.hypervisor import HypervisorError, Passenger

#: One run of a domain: its UUID and the id libvirt gave to this start.
Run = tuple[str, int]
_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_PAUSED
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
)
_SAMPLE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class MigrationChoices:
    """How nodes reach each other. `{address}` and `{node}` stand for the target's in both URIs.

    `uri`: the target's libvirtd. `data_uri`: where QEMU sends the memory, empty: libvirt chooses. `tls`: encrypted by
    QEMU. `unsafe`: also where libvirt cannot know that both ends see the same disk (a plain directory that nodes
    share).
    """

    uri: str = "qemu+tls://{address}/system"
    data_uri: str = "tcp://{address}"
    tls: bool = True
    unsafe: bool = False
    bandwidth_mib_per_second_max: int = 0

    def flags(self) -> int:
        """For virDomainMigrateToURI3."""
        tls = libvirt.VIR_MIGRATE_TLS if self.tls else 0
        return int(_FLAGS | tls | (libvirt.VIR_MIGRATE_UNSAFE if self.unsafe else 0))

    def params(self, domain: libvirt.virDomain, passenger: Passenger) -> dict[str, object]:
        """For virDomainMigrateToURI3: whose copy it will be, and by which way its memory goes."""
        secure = libvirt.VIR_DOMAIN_XML_SECURE | libvirt.VIR_DOMAIN_XML_MIGRATABLE
        params: dict[str, object] = {
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: as_passenger(domain.XMLDesc(secure), passenger),
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: as_passenger(
                domain.XMLDesc(secure | libvirt.VIR_DOMAIN_XML_INACTIVE), passenger
            ),
        }
        if self.data_uri:
            params[libvirt.VIR_MIGRATE_PARAM_URI] = _filled(self.data_uri, passenger)
        if self.bandwidth_mib_per_second_max:
            params[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = self.bandwidth_mib_per_second_max
        return params

    def target(self, passenger: Passenger) -> str:
        """The URI of the target's libvirtd."""
        return _filled(self.uri, passenger)


def _filled(template: str, passenger: Passenger) -> str:
    return template.replace("{address}", passenger.address).replace("{node}", passenger.node)


def as_passenger(xml: str, passenger: Passenger) -> str:
    """The document with the passenger's generation and node in our metadata.

    The SMBIOS strings stay: the guest has read them, and libvirt refuses a migration that changes them.
    """
    document = etree.fromstring(xml)
    ours = document.find(f"metadata/{{{METADATA_URI}}}vm")
    if ours is None:
        raise HypervisorError("the domain has none of our metadata: it is not migrated")
    ours.set("generation", str(passenger.generation))
    ours.set("node", passenger.node)
    return etree.tostring(document, encoding="unicode")


@dataclass
class _Job:
    """One migration of one run. `found`: another process began it, so its end is seen and not told."""

    found: bool
    fact: MoveFact


class Migrations:
    """The outgoing migrations of this node. Thread-safe."""

    def __init__(
        self,
        new_session: Callable[[], AbstractContextManager[Session]],
        choices: MigrationChoices,
        changed: Callable[[], None],
    ) -> None:
        self._new_session = new_session
        self._choices = choices
        self._changed = changed
        self._lock = threading.Lock()
        self._jobs: dict[Run, _Job] = {}
        self._asked: set[Run] = set()

    def begin(self, uuid: str, run_id: int, passenger: Passenger) -> None:
        """Start it. What goes wrong from here on is told by `facts`."""
        run = (uuid, run_id)
        with self._lock:
            known = self._jobs.get(run)
            if known is not None and known.fact.running:
                raise HypervisorError("another migration of this VM is under way")
            self._jobs[run] = _Job(found=False, fact=MoveFact(running=True))
        self._thread(self._migrate, run, passenger)
        self._thread(self._sample, run)

    def facts(self, runs: Iterable[Run]) -> dict[Run, MoveFact]:
        """The newest migration of each of these runs (all that are up now). What is known of others is forgotten."""
        current = set(runs)
        with self._lock:
            self._jobs = {r: j for r, j in self._jobs.items() if r in current or j.fact.running}
            self._asked &= current
            new = current - self._asked - set(self._jobs)
            self._asked |= new
        asked = [self._thread(self._discover, run) for run in new]
        deadline = time.monotonic() + 0.5
        for thread in asked:
            thread.join(max(0.0, deadline - time.monotonic()))
        with self._lock:
            return {r: j.fact for r, j in self._jobs.items() if r in current}

    def _thread(self, work: Callable[..., None], *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, name="libvirt-migration", daemon=True)
        thread.start()
        return thread

    def _migrate(self, run: Run, passenger: Passenger) -> None:
        error = ""
        try:
            with self._new_session() as session, session.calling("migrate") as connection:
                domain = connection.lookupByUUIDString(run[0])
                params = self._choices.params(domain, passenger)
                domain.migrateToURI3(self._choices.target(passenger), params, self._choices.flags())
        except HypervisorError as failed:
            error = str(failed)
        except Exception as defect:  # noqa: BLE001  else it would look as if it ran for ever
            error = f"{type(defect).__name__}: {defect}"
        self._set(run, MoveFact(running=False, error=error))
        self._changed()

    def _discover(self, run: Run) -> None:
        """Is a migration under way that a process before us began?"""
        sample = self._ask(run)
        if sample is None:
            return
        with self._lock:
            if run in self._jobs:
                return
            self._jobs[run] = _Job(found=True, fact=sample)
        self._sample(run)

    def _sample(self, run: Run) -> None:
        """Until its end: how far it is."""
        while True:
            time.sleep(_SAMPLE_SECONDS)
            with self._lock:
                job = self._jobs.get(run)
            if job is None or not job.fact.running:
                return
            if self._ended(job, self._ask(run)):
                self._changed()

    def _ended(self, job: _Job, sample: MoveFact | None) -> bool:
        """Take in a sample. True when it is the end of a migration that nobody here waits for."""
        with self._lock:
            if sample is None and job.found:
                job.fact = MoveFact(running=False, error="it ended while nobody was listening")
                return True
            if sample is not None and job.fact.running:
                job.fact = sample
            return False

    def _ask(self, run: Run) -> MoveFact | None:
        """None when there is no migration, or no answer."""
        try:
            with self._new_session() as session, session.calling("ask for the migration") as connection:
                domain = connection.lookupByUUIDString(run[0])
                stats: dict[str, Any] = domain.jobStats() if domain.ID() == run[1] else {}
        except HypervisorError:
            return None
        if stats.get("operation", -1) != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
            return None
        total, left = stats.get("memory_total", 0), stats.get("memory_remaining", 0)
        if not total:  # the target is being prepared
            return MoveFact(running=True)
        memory_pass = stats.get(libvirt.VIR_DOMAIN_JOB_MEMORY_ITERATION, 0)
        return MoveFact(True, int(100 * (total - left) / total), left >> 20, memory_pass)

    def _set(self, run: Run, fact: MoveFact) -> None:
        with self._lock:
            job = self._jobs.get(run)
            if job is not None:
                job.fact = fact
