"""One simulated server: its power, its watchdog, its hypervisor, and the agent process that comes and goes on it."""

from collections.abc import Callable
from random import Random

from app.adapters.sim.clock import NodeClock, SimClock
from app.adapters.sim.pool import SimPool
from app.adapters.sim.watchdog import SimWatchdog
from app.adapters.sim.workers import ProcessKilled, SimWorkers
from app.domain.events import DomainChanged, SignalReceived
from app.engine.agent_loop import Agent
from app.engine.inbox import Inbox
from app.simulator.fuse import Fuse, fused
from app.simulator.guests import ToldHypervisor
from app.simulator.layout import NodeLayout

TICK_SECONDS = 0.2


class AgentProcess:
    """One life of one agent: ticked every 0.2 s, and a moment after a fact came in."""

    def __init__(
        self,
        clock: SimClock,
        random: Random,
        latency: Callable[[str], float],
        slow: Callable[[], float],
        died: Callable[[], None],
    ) -> None:
        self._clock, self._random, self._slow, self._died = clock, random, slow, died
        self.inbox = Inbox()
        self.workers = SimWorkers(clock, random, lambda lane: latency(lane) * slow(), self._put_all, died)
        self.agent: Agent | None = None
        self._me = ""
        self._fuse = Fuse()
        self._wanted = False
        self._stopped = False
        self.hung = False

    def start(self, agent: Agent) -> None:
        """Begin to tick."""
        self.agent, self._me = agent, agent.ports.facts.name
        self._beat()

    def put(self, event: object) -> None:
        """A fact; the tick follows at once."""
        self.inbox.put(event)  # type: ignore[arg-type]
        if not (isinstance(event, SignalReceived) and event.kind == "here" and event.sender != self._me):
            self._wake()  # that another one lives is in no hurry

    def hang(self, *, on: bool) -> None:
        """The loop stands still (a defect, a frozen node): facts wait in the inbox."""
        self.hung = on
        if not on:
            self._wake()

    def crash_at(self, step: int) -> None:
        """It will die at the given one of its next steps, see `fuse`."""
        if self.agent is not None:
            if self._fuse.left is None:
                self.agent.ports = fused(self.agent.ports, self._fuse)
            self._fuse.left = step

    def kill(self) -> None:
        """kill -9."""
        self._fuse.left = None
        self._stopped = True
        self.workers.kill()

    def _put_all(self, events: object) -> None:
        self.inbox.put_all(events)  # type: ignore[arg-type]
        self._wake()

    def _wake(self) -> None:
        if not self._wanted:
            self._wanted = True
            self._clock.after(0.001 * self._slow(), self._tick)

    def _beat(self) -> None:
        if self._stopped:
            return
        self._wake()
        self._clock.after(TICK_SECONDS * self._slow(), self._beat)

    def _tick(self) -> None:
        self._wanted = False
        if self._stopped or self.hung or self.agent is None:
            return
        try:
            self.agent.tick(self.inbox.drain())
        except ProcessKilled:
            self._died()


class SimServer:
    """Power and processes of one node. `pool` is how it reaches the storage; `expired` is called when its watchdog
    cuts the power. `slow`: everything on it takes so many times longer. `outdated`: the version of its software.
    """

    def __init__(
        self,
        clock: SimClock,
        layout: NodeLayout,
        hypervisor: ToldHypervisor,
        pool: SimPool,
        expired: Callable[[], None],
    ) -> None:
        self._clock, self.layout, self.hypervisor, self._expired = clock, layout, hypervisor, expired
        self.pool = pool
        self.clock = NodeClock(clock, layout.clock_ahead_seconds, layout.clock_drift_ppm)
        self.slow = 1.0
        self.outdated = layout.outdated
        #: what its package says, and why it cannot be upgraded
        self.version = "1"
        self.refuses_upgrade = ""
        self.on = False
        self.frozen = False
        self.boots = 0
        self.process: AgentProcess | None = None
        self.watchdog: SimWatchdog | None = None
        self.fence_hangs = False
        self.api_down = False
        #: a reboot ends in the dark
        self.stays_off = False
        #: told of each feed of its watchdog
        self.fed: Callable[[], None] = lambda: None
        hypervisor.watch(self._domain_changed)

    def power_on(self) -> None:
        """The machine runs; nothing on it yet."""
        self.on, self.frozen = True, False
        self.boots += 1

    def power_off(self) -> None:
        """Everything on it is gone at once."""
        self.on, self.frozen, self.watchdog = False, False, None
        self.kill_agent()
        self.hypervisor.power_cut()

    def freeze(self) -> None:
        """All of it stands still: agent, libvirtd and guests. The watchdog is outside and runs on."""
        self.frozen = True
        self._guests(stand_still=True)
        if self.process is not None:
            self.process.workers.suspend()
            self.process.hang(on=True)

    def thaw(self) -> None:
        """All of it goes on, the guests first."""
        self.frozen = False
        self._guests(stand_still=False)
        if self.process is not None:
            self.process.workers.resume()
            self.process.hang(on=False)

    def kill_agent(self) -> None:
        """kill -9; the VMs run on, the watchdog too."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    @property
    def timeout_seconds(self) -> float | None:
        """The watchdog port."""
        return self.layout.watchdog_seconds

    def problems(self) -> tuple[str, ...]:
        """What its health check finds."""
        return ("pool",) if self.pool.gone else ()

    def feed(self) -> None:
        """The watchdog port: the first feed since the power came opens the device, and so arms it."""
        if self.watchdog is None:
            self.watchdog = SimWatchdog(self._clock.monotonic, self.layout.watchdog_seconds)
            self._watch(self.watchdog)
        self.watchdog.feed()
        self.fed()

    def disarm(self) -> None:
        """The watchdog port: nothing ends orderly here."""

    def _watch(self, watchdog: SimWatchdog) -> None:
        if watchdog is not self.watchdog:
            return
        if watchdog.expired():
            self._expired()
        elif watchdog.deadline < float("inf"):
            self._clock.at(watchdog.deadline, lambda: self._watch(watchdog))

    def _guests(self, *, stand_still: bool) -> None:
        self.hypervisor.stand_still(on=stand_still)

    def _domain_changed(self) -> None:
        if self.process is not None:
            self.process.put(DomainChanged())
