"""Live migrations between simulated hypervisors: two copies, memory that flows, and a hand-over that can go wrong.

As libvirt does it with VIR_MIGRATE_PAUSED: the passenger is paused from its first moment and after the hand-over too,
and the copy at the source ends at the hand-over. The job belongs to libvirtd: an agent that dies leaves it running.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from app.domain.events import DomainState, MoveFact
from app.ports.hypervisor import HypervisorError, Passenger

if TYPE_CHECKING:
    from app.adapters.sim.hypervisor import SimDomain, SimHypervisor

#: how often a job looks around, and how long it bears a connection that carries nothing (seconds)
STEP_SECONDS = 0.25
_KEEPALIVE_SECONDS = 5.0
_ORPHAN_SECONDS = 10.0
#: each takes as long, and copies half of what the one before did
_PASSES = 3
_UP = (DomainState.RUNNING, DomainState.PAUSED)


@dataclass
class _Job:
    source: SimHypervisor
    target: SimHypervisor
    domain: SimDomain
    passenger: SimDomain
    done: float = 0.0
    cut_for: float = 0.0
    aborted: bool = False


@dataclass
class SimMoves:
    """Shared by all `SimHypervisor` of a cluster. What goes wrong is set from outside, by the source's name:

    * `hangs`: nothing flows. `fails`: in the middle it breaks. `answer_lost`: the hand-over works, and the source is
      told that it failed, so its copy goes on. `slow`: it takes so many seconds.
    `seconds` is how long a migration takes; `step` is called every STEP_SECONDS by the caller, or through `after`.
    """

    seconds: float = 2.0
    after: Callable[[float, Callable[[], None]], object] | None = None
    reaches: Callable[[str, str], bool] = lambda _a, _b: True
    frozen: Callable[[str], bool] = lambda _node: False
    tell: Callable[[str, str], None] = lambda _node, _text: None
    slow: dict[str, float] = field(default_factory=dict)
    hangs: set[str] = field(default_factory=set)
    fails: set[str] = field(default_factory=set)
    answer_lost: set[str] = field(default_factory=set)
    _hosts: dict[str, SimHypervisor] = field(default_factory=dict)
    _jobs: list[_Job] = field(default_factory=list)
    _ticking: bool = False

    def join(self, hypervisor: SimHypervisor) -> None:
        """A hypervisor that can be reached by the others."""
        hypervisor.moves = self
        self._hosts[hypervisor.node] = hypervisor

    def begin(self, source: SimHypervisor, domain: SimDomain, passenger: Passenger) -> None:
        """HypervisorError when the target cannot take it."""
        vm_id, target = domain.spec.vm_id, self._hosts.get(passenger.node)
        if any(j.domain is domain for j in self._jobs):
            raise HypervisorError(f"migrate VM {vm_id}: another migration of it is under way")
        if domain.state is not DomainState.RUNNING:
            raise HypervisorError(f"migrate VM {vm_id}: it is not running")
        if target is None or target.unavailable or not self.reaches(source.node, target.node):
            raise HypervisorError(f"migrate VM {vm_id}: {passenger.address} does not answer")
        if target.domain(vm_id) is not None:
            raise HypervisorError(f"migrate VM {vm_id}: {passenger.node} has a domain of it already")
        spec = replace(domain.spec, node=passenger.node, generation=passenger.generation)
        source.moved_on(domain, MoveFact(running=True))
        self.tell(source.node, f"migrates {spec.name} to {passenger.node} (generation {passenger.generation})")
        self._jobs.append(_Job(source, target, domain, target.take_in(spec)))
        self._tick()

    def abort(self, node: str, vm_id: int) -> None:
        """At the next step; nothing when none is under way."""
        for job in self._jobs:
            if job.source.node == node and job.domain.spec.vm_id == vm_id:
                job.aborted = True

    def step(self) -> None:
        """One step of all jobs."""
        self._ticking = False
        for job in tuple(self._jobs):
            if not self._look(job):
                self._jobs.remove(job)
        if self._jobs:
            self._tick()

    def _tick(self) -> None:
        if self.after is not None and not self._ticking:
            self._ticking = True
            self.after(STEP_SECONDS, self.step)

    def _look(self, job: _Job) -> bool:
        """False when the job is over."""
        source, target = job.source.node, job.target.node
        vm_id = job.domain.spec.vm_id
        if self.frozen(source):
            return True
        if job.source.domain(vm_id) is not job.domain or job.domain.state not in _UP:
            job.cut_for += 0.0 if self.reaches(source, target) else STEP_SECONDS
            if job.cut_for and job.cut_for <= _ORPHAN_SECONDS:
                return True  # the target does not know yet that the source is gone
            job.target.put_out(job.passenger)
            return False
        why = self._broken(job)
        if why:
            job.target.put_out(job.passenger)
            return self._failed(job, why)
        if source in self.hangs or self.frozen(target) or job.cut_for:
            return True
        job.done += STEP_SECONDS / self.slow.get(source, self.seconds)
        if source in self.fails and job.done >= 0.5:
            job.target.put_out(job.passenger)
            return self._failed(job, "the connection to the target broke")
        if job.done < 1:
            memory_pass, part = divmod(job.done * _PASSES, 1)
            left = int(job.domain.spec.memory_mib * (1 - part) / 2**memory_pass)
            job.source.moved_on(job.domain, MoveFact(True, int(100 * job.done), left, int(memory_pass)))
            return True
        return self._hand_over(job)

    def _broken(self, job: _Job) -> str:
        if job.aborted:
            return "it was aborted"
        if job.source.unavailable or job.target.unavailable:
            return "libvirtd went away"
        if job.target.domain(job.domain.spec.vm_id) is not job.passenger:
            return "the copy at the target ended"
        if self.reaches(job.source.node, job.target.node):
            job.cut_for = 0.0
        else:
            job.cut_for += STEP_SECONDS
        return "the target does not answer" if job.cut_for > _KEEPALIVE_SECONDS else ""

    def _failed(self, job: _Job, why: str) -> bool:
        self.tell(job.source.node, f"could not migrate {job.domain.spec.name}: {why}")
        job.source.moved_on(job.domain, MoveFact(running=False, error=why))
        return False

    def _hand_over(self, job: _Job) -> bool:
        if job.source.node in self.answer_lost:
            job.target.arrive(job.passenger, job.domain.booted_at)
            return self._failed(job, "the answer to the hand-over was lost")
        self.tell(job.source.node, f"hands {job.domain.spec.name} over to {job.target.node}")
        job.source.give_away(job.domain)
        job.target.arrive(job.passenger, job.domain.booted_at)
        return False
