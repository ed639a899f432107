"""The hypervisor port in memory, over a clock that the caller turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.adapters.sim.disks import SimDisks, Writer
from app.adapters.sim.moves import SimMoves
from app.domain.events import UP, DomainFact, DomainState, MoveFact
from app.domain.vm import StopMode
from app.ports.hypervisor import DomainSpec, HypervisorError, HypervisorUnavailable, Passenger


@dataclass
class SimDomain:
    """One domain. `booted_at`: when its guest is alive, `silent_since`: when its agent fell silent, by the clock.

    `disk_lost`: what this QEMU had open is gone; only another QEMU can use the disk again.
    """

    spec: DomainSpec
    state: DomainState
    booted_at: float
    ended: str = ""
    move: MoveFact | None = None
    incoming: bool = False
    paused_by: str = ""
    silent_since: float | None = None
    disk_lost: bool = False


@dataclass
class SimHypervisor:
    """One node. What goes wrong is set from outside; everything takes effect at once.

    * `unavailable`: every call raises, the VMs run on (libvirtd is gone).
    * `refuse_starts`: VM id -> the error its next start fails with; an entry stays until it is removed.
    * `refuse_all_starts`: the same for every VM on this node; empty: none.
    * `slow`: guests take so many times longer to boot.
    * `deaf_guests`: VMs whose guest ignores the power button.
    * `failing_disks`: VMs whose disk answers with errors: QEMU pauses them at once, and again after each resume.
    """

    node: str
    now: Callable[[], float]
    disks: SimDisks
    boot_seconds: float = 2.0
    slow: float = 1.0
    unavailable: bool = False
    refuse_all_starts: str = ""
    refuse_starts: dict[int, str] = field(default_factory=dict)
    deaf_guests: set[int] = field(default_factory=set)
    moves: SimMoves | None = None
    failing_disks: set[int] = field(default_factory=set)
    _domains: dict[int, SimDomain] = field(default_factory=dict)
    _watchers: list[Callable[[], None]] = field(default_factory=list)

    # -- the port

    def domains(self) -> Sequence[DomainFact]:
        self._must_answer()
        return [self._fact(domain) for domain in self._domains.values()]

    def start(self, spec: DomainSpec) -> None:
        self._must_answer()
        known = self._own(spec.vm_id, spec.generation)
        if known is not None and known.state in UP:
            return
        problem = self.refuse_all_starts or self.refuse_starts.get(spec.vm_id, "")
        if problem:
            raise HypervisorError(f"start VM {spec.vm_id}: {problem}")
        writer = Writer(self.node, spec.generation)
        if self.disks.cut_off(self.node, spec.vm_id):
            raise HypervisorError(f"start VM {spec.vm_id}: its pool lets {self.node} open no volume")
        if not self.disks.open(spec.vm_id, writer):
            raise HypervisorError(f"start VM {spec.vm_id}: another process writes to its volume (image lock)")
        self._domains[spec.vm_id] = SimDomain(spec, DomainState.RUNNING, self.now() + self.boot_seconds * self.slow)
        self.disks.write(spec.vm_id, writer)
        self._tell()
        self._io(self._domains[spec.vm_id])

    def stop(self, vm_id: int, generation: int, mode: StopMode) -> None:
        self._must_answer()
        domain = self._own(vm_id, generation)
        if domain is None or domain.state not in UP:
            return
        if mode is StopMode.HARD:
            self._end(domain, DomainState.SHUTOFF, "destroyed")
        elif self._hears(domain):
            self._end(domain, DomainState.SHUTOFF, "shutdown")

    def destroy(self, vm_id: int, generation: int) -> None:
        self._must_answer()
        domain = self._domains.get(vm_id)
        if domain is not None and domain.spec.generation == generation:
            self._end(domain, DomainState.SHUTOFF, "destroyed")
            del self._domains[vm_id]

    def pause(self, vm_id: int, generation: int) -> None:
        domain = self._running_copy(vm_id, generation)
        if domain.state is DomainState.RUNNING:
            domain.state = DomainState.PAUSED
            self.disks.hold(vm_id, self._writer(domain))
            self._tell()

    def resume(self, vm_id: int, generation: int) -> None:
        domain = self._running_copy(vm_id, generation)
        if domain.incoming:
            raise HypervisorError(f"VM {vm_id} is still coming in: its memory is not complete")
        if domain.state is DomainState.PANICKED:
            raise HypervisorError(f"VM {vm_id} has panicked: it goes on only after a reset")
        if domain.state is DomainState.PAUSED:
            domain.state, domain.paused_by = DomainState.RUNNING, ""
            self.disks.write(vm_id, self._writer(domain))
            self._tell()
            self._io(domain)

    def reset(self, vm_id: int, generation: int, mode: StopMode) -> None:
        domain = self._running_copy(vm_id, generation)
        if mode is StopMode.HARD or self._hears(domain):
            domain.booted_at = min(domain.booted_at, self.now()) + self.boot_seconds * self.slow
            domain.silent_since = None
            self._tell()

    def migrate(self, vm_id: int, generation: int, passenger: Passenger) -> None:
        domain = self._running_copy(vm_id, generation)
        if self.moves is None:
            raise HypervisorError(f"migrate VM {vm_id}: {passenger.address} does not answer")
        self.moves.begin(self, domain, passenger)

    def abort_migration(self, vm_id: int, generation: int) -> None:
        self._running_copy(vm_id, generation)
        if self.moves is not None:
            self.moves.abort(self.node, vm_id)

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)

    def close(self) -> None:
        self._watchers.clear()

    # -- what happens to a node and its guests

    def power_cut(self) -> None:
        """All is off and forgotten: nobody is told."""
        for domain in self._domains.values():
            self.disks.close(domain.spec.vm_id, self._writer(domain))
        self._domains.clear()

    def stand_still(self, *, on: bool) -> None:
        """The whole node is frozen, or goes on: the CPUs of its guests with it."""
        for domain in self._domains.values():
            if domain.state is DomainState.RUNNING:
                move = self.disks.hold if on else self.disks.write
                move(domain.spec.vm_id, self._writer(domain))

    def guest_shuts_down(self, vm_id: int) -> None:
        """The customer typed `poweroff`."""
        self._end(self._domains[vm_id], DomainState.SHUTOFF, "shutdown")

    def crash(self, vm_id: int) -> None:
        """QEMU died."""
        self._end(self._domains[vm_id], DomainState.SHUTOFF, "crashed")

    def panic(self, vm_id: int) -> None:
        """The guest's kernel gave up. QEMU stands still and keeps the disks open."""
        self._stand(vm_id, DomainState.PANICKED, "")

    def watchdog_fires(self, vm_id: int) -> None:
        """The guest did not feed its watchdog device."""
        self._stand(vm_id, DomainState.PAUSED, "watchdog")

    def hang(self, vm_id: int) -> None:
        """The guest's agent, connected, answers no more."""
        self._domains[vm_id].silent_since = self.now()

    def disk_fails(self, vm_id: int) -> None:
        """Its disk answers with errors, until it is taken out of `failing_disks`."""
        self.failing_disks.add(vm_id)
        if vm_id in self._domains:
            self._io(self._domains[vm_id])

    def disk_is_lost(self, vm_id: int) -> None:
        """The disk is well, but this QEMU cannot use it any more."""
        self._domains[vm_id].disk_lost = True
        self._io(self._domains[vm_id])

    def libvirt_returns(self) -> None:
        """The end of `unavailable`, with the wake-up that libvirt's reconnect gives."""
        self.unavailable = False
        self._tell()

    # -- what `SimMoves` does at both ends of a migration

    def domain(self, vm_id: int) -> SimDomain | None:
        """The copy that is here, whatever libvirt says."""
        return self._domains.get(vm_id)

    def take_in(self, spec: DomainSpec) -> SimDomain:
        """A passenger: paused, without its memory, its disks not opened yet."""
        domain = SimDomain(spec, DomainState.PAUSED, 0.0, incoming=True)
        self._domains[spec.vm_id] = domain
        self._tell()
        return domain

    def arrive(self, domain: SimDomain, booted_at: float) -> None:
        """Its memory is complete. It stands still, with its disks open."""
        domain.incoming, domain.booted_at = False, booted_at
        self.disks.arrive(domain.spec.vm_id, self._writer(domain))
        self._tell()

    def put_out(self, domain: SimDomain) -> None:
        """The connection that it came in by is gone, and the passenger with it."""
        if self._domains.get(domain.spec.vm_id) is domain:
            self.disks.close(domain.spec.vm_id, self._writer(domain))
            del self._domains[domain.spec.vm_id]
            self._tell()

    def give_away(self, domain: SimDomain) -> None:
        """Handed over: off here."""
        domain.move = None
        self._end(domain, DomainState.SHUTOFF, "migrated")

    def moved_on(self, domain: SimDomain, fact: MoveFact) -> None:
        """How the migration goes; told when it ends."""
        domain.move = fact
        if not fact.running:
            self._tell()

    # -- inside

    def _must_answer(self) -> None:
        if self.unavailable:
            raise HypervisorUnavailable(f"the hypervisor of {self.node} does not answer")

    def _own(self, vm_id: int, generation: int) -> SimDomain | None:
        domain = self._domains.get(vm_id)
        if domain is not None and domain.spec.generation != generation:
            raise HypervisorError(
                f"VM {vm_id} has a domain of generation {domain.spec.generation} here, not {generation}: left alone"
            )
        return domain

    def _running_copy(self, vm_id: int, generation: int) -> SimDomain:
        self._must_answer()
        domain = self._own(vm_id, generation)
        if domain is None:
            raise HypervisorError(f"VM {vm_id} has no domain here")
        if domain.state not in UP:
            raise HypervisorError(f"VM {vm_id} is off")
        return domain

    def _hears(self, domain: SimDomain) -> bool:
        running = domain.state is DomainState.RUNNING and self.now() >= domain.booted_at
        return running and domain.spec.vm_id not in self.deaf_guests

    def _end(self, domain: SimDomain, state: DomainState, why: str) -> None:
        if domain.state in UP:
            domain.state, domain.ended = state, why
            self.disks.close(domain.spec.vm_id, self._writer(domain))
            self._tell()

    def _io(self, domain: SimDomain) -> None:
        if domain.disk_lost or domain.spec.vm_id in self.failing_disks:
            self._stand(domain.spec.vm_id, DomainState.PAUSED, "io-error")

    def _stand(self, vm_id: int, state: DomainState, paused_by: str) -> None:
        domain = self._domains[vm_id]
        if domain.state is DomainState.RUNNING:
            domain.state, domain.paused_by = state, paused_by
            self.disks.hold(vm_id, self._writer(domain))
            self._tell()

    def _writer(self, domain: SimDomain) -> Writer:
        return Writer(self.node, domain.spec.generation)

    def _fact(self, domain: SimDomain) -> DomainFact:
        running = domain.state is DomainState.RUNNING
        alive = self.now() >= domain.booted_at if running else None
        silent = None if domain.silent_since is None or not running else self.now() - domain.silent_since
        spec = domain.spec
        return DomainFact(
            spec.vm_id, spec.generation, domain.state, alive, domain.ended, domain.paused_by, silent, domain.move,
            no_space=False if domain.paused_by == "io-error" else None,
        )  # fmt: skip

    def _tell(self) -> None:
        for changed in tuple(self._watchers):
            changed()
