"""`Hypervisor` on libvirt.

Domains are persistent, so that one that is off still tells why. They are found by the UUID that follows from
the VM's id and believed only with our metadata in them; all other domains of the host are left alone.

One connection lists and hears events; each operation has one of its own (3 ms), each question to a QEMU one that
nobody else uses meanwhile. For libvirtd serves at most five calls of one client at a time (`max_client_requests`) and
does not even answer keepalives behind those, and a QEMU that hangs keeps its calls waiting: so such a call waits
alone. What is left to share are libvirtd's threads (`max_workers`, 20, and 5 more that a `destroy` may use).
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial

import libvirt
import structlog

from app.adapters.libvirt.devices import DiskCache
from app.adapters.libvirt.disk_errors import DiskErrors
from app.adapters.libvirt.domain_metrics import DomainMetrics
from app.adapters.libvirt.domain_xml import HostChoices, build_domain
from app.adapters.libvirt.drivers import driver_for
from app.adapters.libvirt.facts import paused_by, state_of, why_ended
from app.adapters.libvirt.file_owner import FileOwner, give
from app.adapters.libvirt.guest_signs import GuestSigns
from app.adapters.libvirt.guest_silence import GuestSilence
from app.adapters.libvirt.identity import METADATA_URI, NAME_PREFIX, Identity, domain_uuid, read_metadata
from app.adapters.libvirt.migration import MigrationChoices, Migrations
from app.adapters.libvirt.session import Patience, Session, Sessions
from app.adapters.libvirt.watcher import Watcher
from app.domain.events import DomainFact, DomainState
from app.domain.vm import StopMode
from app.ports.hypervisor import DomainSpec, HypervisorError, HypervisorUnavailable, Passenger

log = structlog.get_logger(__name__)

#: What QEMU says when another process holds the lock of an image: block/file-posix.c.
_LOCK_WORDS = ('Failed to get "write" lock', 'Failed to get shared "write" lock')


class LibvirtHypervisor:
    """The VMs of this node, through libvirt. Thread-safe.

    `uri`: e.g. `qemu:///system` or `test:///default`; `domain_type`: kvm, qemu (emulation) or test.
    `console_dir`: where consoles are logged (empty: not). `cpu`: None for what fits the domain type. `migration`: how
    the other nodes' libvirt is reached.
    """

    def __init__(
        self,
        uri: str,
        domain_type: str = "kvm",
        console_dir: str = "",
        *,
        cpu: str | None = None,
        disk_cache: DiskCache = "auto",
        machine: str = "pc",
        patience: Patience | None = None,
        migration: MigrationChoices | None = None,
    ) -> None:
        self._driver = driver_for(domain_type)
        chosen_cpu = self._driver.cpu if cpu is None else cpu
        self._host = HostChoices(self._driver.domain_type, chosen_cpu, console_dir, disk_cache, machine)
        self._new_session = partial(Session, uri, patience or Patience(), keepalive=self._driver.daemon)
        self._kept = Sessions(self._new_session)
        self._signs = GuestSigns(self._asking)
        self._silence = GuestSilence(self._asking)
        self._disk_errors = DiskErrors(self._asking)
        self._file_owner = FileOwner(self._driver.domain_type)
        self._watcher = Watcher(forget=self._forget)
        self._migrations = Migrations(self._own, migration or MigrationChoices(), self._watcher.tell)
        self._eyes = self._new_session(opened=self._watcher.subscribe, lost=self._watcher.connection_lost)
        self._defining = threading.Lock()
        self.metrics = DomainMetrics(self._asking).metrics

    def domains(self) -> Sequence[DomainFact]:
        """All domains that carry our metadata. One bulk call that needs no answer of any QEMU."""
        with self._eyes.calling("list the domains") as connection:
            listed = [
                (domain, stats["state.state"], stats.get("state.reason", 0), identity)
                for domain, stats in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE)
                if (identity := self._identity_if_there(domain)) is not None
            ]
        running = {
            (domain.UUIDString(), domain.ID())
            for domain, state, _, _ in listed
            if state_of(state) is DomainState.RUNNING
        }
        up = {
            (domain.UUIDString(), domain.ID())
            for domain, state, _, _ in listed
            if state_of(state) in (DomainState.RUNNING, DomainState.PAUSED)
        }
        moves = self._migrations.facts(up) if self._driver.daemon else {}
        alive = self._signs.alive(running) if self._driver.sees_guest else set()
        silent = self._silence.seconds(running) if self._driver.sees_guest else {}
        no_space = self._disk_errors.no_space(
            (domain.UUIDString(), domain.ID())
            for domain, state, reason, _ in listed
            if paused_by(state, reason) == "io-error"
        )
        return [
            DomainFact(
                identity.vm_id,
                identity.generation,
                state_of(state),
                self._guest_alive(state_of(state), (domain.UUIDString(), domain.ID()) in alive),
                why_ended(state, reason),
                paused_by(state, reason),
                silent.get((domain.UUIDString(), domain.ID())),
                move=moves.get((domain.UUIDString(), domain.ID())),
                no_space=no_space.get((domain.UUIDString(), domain.ID())),
            )
            for domain, state, reason, identity in listed
        ]

    def start(self, spec: DomainSpec) -> None:
        """Define and start. What was defined for a start that failed is removed again."""
        began = time.monotonic()
        with self._calling(f"start VM {spec.vm_id}") as connection:
            owner = self._file_owner.ids(connection)
            if owner is not None:
                give(spec.disks, owner)
            xml = build_domain(spec, replace(self._host, labels_files=owner is None))
            with self._defining:
                known = self._find(connection, spec.vm_id)
                if known is not None:
                    self._must_be(known[1], spec.generation)
                    if known[0].isActive():
                        return
                domain = connection.defineXML(xml)
            defined = time.monotonic()
            try:
                domain.create()
            except libvirt.libvirtError:
                if domain.isActive():  # another thread started it meanwhile
                    return
                with suppress(libvirt.libvirtError):
                    domain.undefineFlags(self._driver.undefine_flags)
                raise
        took = {"define_ms": round((defined - began) * 1000), "create_ms": round((time.monotonic() - defined) * 1000)}
        log.info("domain started", vm=spec.vm_id, generation=spec.generation, **took)

    def stop(self, vm_id: int, generation: int, mode: StopMode) -> None:
        """The domain stays defined and tells how it ended."""
        with self._calling(f"stop VM {vm_id}") as connection:
            known = self._find(connection, vm_id)
            if known is None:
                return
            domain, identity = known
            self._must_be(identity, generation)
            if not domain.isActive():
                return
            if mode is StopMode.HARD:
                self._kill(domain)
            else:
                domain.shutdownFlags(self._driver.power_button)

    def destroy(self, vm_id: int, generation: int) -> None:
        """Off and undefined. A domain of another generation is none of this call's business: no error.

        libvirt sends SIGTERM, and SIGKILL after 10 s: a QEMU that does not react costs that time. One that
        the kernel cannot kill (it waits for dead storage) is an error, and the domain is then not off.
        """
        with self._calling(f"destroy VM {vm_id}") as connection:
            known = self._find(connection, vm_id)
            if known is None or known[1].generation != generation:
                return
            domain = known[0]
            try:
                if domain.isActive():
                    self._kill(domain)
                domain.undefineFlags(self._driver.undefine_flags)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:  # another thread was faster
                    raise

    def pause(self, vm_id: int, generation: int) -> None:
        """CPUs stopped, disk requests in flight done, when it returns."""
        with self._calling(f"pause VM {vm_id}") as connection:
            domain = self._running_copy(connection, vm_id, generation)
            self._bring_to(domain, libvirt.VIR_DOMAIN_PAUSED, domain.suspend)

    def resume(self, vm_id: int, generation: int) -> None:
        """CPUs run when it returns."""
        with self._calling(f"resume VM {vm_id}") as connection:
            domain = self._running_copy(connection, vm_id, generation)
            if domain.state()[0] == libvirt.VIR_DOMAIN_CRASHED:  # QEMU would let it go on, into its panic's reboot
                raise HypervisorError(f"VM {vm_id} has panicked: it goes on only after a reset")
            self._bring_to(domain, libvirt.VIR_DOMAIN_RUNNING, domain.resume)

    def reset(self, vm_id: int, generation: int, mode: StopMode) -> None:
        """ACPI: libvirt presses the power button and, when the guest powers off, resets instead."""
        with self._calling(f"reset VM {vm_id}") as connection:
            domain = self._running_copy(connection, vm_id, generation)
            if mode is StopMode.HARD:
                domain.reset(0)
            else:
                domain.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)

    def migrate(self, vm_id: int, generation: int, passenger: Passenger) -> None:
        """In the background; an error that comes later is told by `domains`."""
        if not self._driver.daemon:
            raise HypervisorError(f"migrate VM {vm_id}: libvirt's {self._driver.domain_type} driver cannot do that")
        with self._calling(f"migrate VM {vm_id}") as connection:
            domain = self._running_copy(connection, vm_id, generation)
            if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
                raise HypervisorError(f"migrate VM {vm_id}: it is not running")
            self._migrations.begin(domain.UUIDString(), domain.ID(), passenger)

    def abort_migration(self, vm_id: int, generation: int) -> None:
        """libvirt stops the flow of memory; the call that migrates then ends with an error."""
        with self._calling(f"abort the migration of VM {vm_id}") as connection:
            domain = self._running_copy(connection, vm_id, generation)
            try:
                domain.abortJob()
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:  # there is no job
                    raise

    def watch(self, changed: Callable[[], None]) -> None:
        """Also called when libvirtd goes and when it is back: both are reasons to list again."""
        self._watcher.start(self._eyes, changed)

    def learn_qemu(self) -> None:
        """Have libvirt know what the installed QEMU can do: it starts it for that, once, and remembers it.

        Else the first VM that starts here waits for it, seconds: on a spare node, in the midst of a recovery.
        """
        if self._driver.daemon:
            with self._own() as session, session.calling("ask libvirt what QEMU can do") as connection:
                connection.getDomainCapabilities(None, None, None, self._driver.domain_type)
                self._file_owner.ids(connection)

    def close(self) -> None:
        """The VMs run on."""
        self._watcher.stop()
        self._kept.close()
        self._eyes.close()

    def _forget(self) -> None:
        self._signs.forget()
        self._silence.forget()
        self._disk_errors.forget()
        self._file_owner.forget()

    def _guest_alive(self, state: DomainState, sign: bool) -> bool | None:
        if not self._driver.sees_guest or state is not DomainState.RUNNING:
            return None
        return sign

    def _asking(self) -> AbstractContextManager[Session]:
        """For what is asked every few seconds."""
        return self._kept.own() if self._driver.daemon else nullcontext(self._eyes)

    @contextmanager
    def _own(self) -> Iterator[Session]:
        if not self._driver.daemon:
            yield self._eyes
            return
        session = self._new_session()
        try:
            yield session
        finally:
            session.close()

    @contextmanager
    def _calling(self, what: str) -> Iterator[libvirt.virConnect]:
        try:
            with self._own() as session, session.calling(what) as connection:
                yield connection
            log.info("done", work=what)
        except HypervisorUnavailable:
            raise
        except HypervisorError as error:
            if any(words in str(error) for words in _LOCK_WORDS):
                text = f"{what}: another process writes to its volume (image lock), it was not started: {error}"
                raise HypervisorError(text) from error
            raise

    @staticmethod
    def _bring_to(domain: libvirt.virDomain, state: int, act: Callable[[], object]) -> None:
        if domain.state()[0] == state:
            return
        try:
            act()
        except libvirt.libvirtError:
            if domain.state()[0] != state:  # else: another thread was faster
                raise

    @staticmethod
    def _kill(domain: libvirt.virDomain) -> None:
        try:
            domain.destroyFlags(0)  # not GRACEFUL: SIGKILL when SIGTERM does not help
        except libvirt.libvirtError as error:
            # It may have ended by itself between the look and the call.
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or domain.isActive():
                raise

    def _find(self, connection: libvirt.virConnect, vm_id: int) -> tuple[libvirt.virDomain, Identity] | None:
        try:
            domain = connection.lookupByUUIDString(domain_uuid(vm_id))
            identity = self._identity(domain)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise
        if identity is None:
            raise HypervisorError(f"the domain {domain.name()} has the UUID of VM {vm_id} but is not ours: left alone")
        return domain, identity

    def _running_copy(self, connection: libvirt.virConnect, vm_id: int, generation: int) -> libvirt.virDomain:
        known = self._find(connection, vm_id)
        if known is None:
            raise HypervisorError(f"VM {vm_id} has no domain here")
        domain, identity = known
        self._must_be(identity, generation)
        if not domain.isActive():
            raise HypervisorError(f"VM {vm_id} is off")
        return domain

    @staticmethod
    def _must_be(identity: Identity, generation: int) -> None:
        if identity.generation != generation:
            raise HypervisorError(
                f"VM {identity.vm_id} has a domain of generation {identity.generation} here, not {generation}:"
                " left alone"
            )

    def _identity_if_there(self, domain: libvirt.virDomain) -> Identity | None:
        try:
            return self._identity(domain)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # it went away since it was listed
                return None
            raise

    @staticmethod
    def _identity(domain: libvirt.virDomain) -> Identity | None:
        """What our metadata says; of a running domain what the running one was started with."""
        if not domain.name().startswith(NAME_PREFIX):
            return None
        try:
            text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA_URI)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN_METADATA:
                return None
            raise
        identity = read_metadata(text)
        if identity is None or domain.UUIDString() != domain_uuid(identity.vm_id):
            return None  # a copy that somebody made of one of our definitions
        return identity
