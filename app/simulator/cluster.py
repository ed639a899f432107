"""SimCluster: the real agents of all nodes on simulated parts, in virtual time.

What is real: `Agent` with both cores, the inbox, every service, every write. What is simulated: Corosync, libvirt, the
database's memory, power, watchdogs, fence devices, and time. Everything random comes from one seeded generator.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from app.adapters.sim.clock import SimClock
from app.adapters.sim.disks import SimDisks
from app.adapters.sim.fencing import SimFence
from app.adapters.sim.machine import SimMachine
from app.adapters.sim.moves import SimMoves
from app.adapters.sim.network import SimMembership, SimNetwork
from app.adapters.sim.package import SimPackage
from app.adapters.sim.pool import SimPool
from app.adapters.sim.storage_heartbeat import SimBeats, SimHeartbeat
from app.adapters.sim.store import Change
from app.domain.cluster import ClusterView, Incident
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.fencing import FencingTimes
from app.domain.host_shutdown import ShutdownPolicy
from app.domain.node_agent_state import NodeAgentSettings
from app.domain.soft_fence import SILENT
from app.domain.storage_heartbeat import HeartbeatTimes
from app.engine.agent_loop import Agent
from app.engine.leave import HostShutdown
from app.engine.ports import AgentPorts
from app.ports.store import Transaction
from app.services.load_view import load_view
from app.services.report_observed import NodeFacts
from app.simulator.database import SimDatabase
from app.simulator.first_rows import first_rows
from app.simulator.guests import ToldHypervisor
from app.simulator.layout import Layout, NodeLayout
from app.simulator.pool_fences import PoolFences
from app.simulator.power import AgentProcess, SimServer

Tell = Callable[[str, str], None]
AGENT_RESTART_SECONDS = 2.0
REBOOT_SECONDS = 15.0
UPGRADE_SECONDS = 12.0


class SimCluster:
    """`tell(who, what)` hears what happens, `committed` every change of the database, `started` every start and
    `ring(members, quorate)` of every ring that Corosync forms.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        tell: Tell = lambda _who, _what: None,
        committed: Callable[[str, list[Change]], None] = lambda _who, _changes: None,
        started: Callable[[str, int, int], None] = lambda _node, _vm, _generation: None,
        ring: Callable[[frozenset[str], bool], None] = lambda _members, _quorate: None,
    ) -> None:
        self.layout, self.tell, self._on_ring = layout, tell, ring
        self.random = Random(layout.seed)  # noqa: S311  a simulation must be repeatable
        self.clock = SimClock()
        self.disks = SimDisks(image_lock=layout.image_lock, raise_violations=False)
        names = tuple(n.name for n in layout.nodes)
        self.network = SimNetwork(self.clock, self.random, names, on_ring=self._ring)
        self.network.on_api = self._told_api
        self.database = SimDatabase(self.clock, self.random, self.network, names, committed)
        self.volumes: dict[str, int] = {}
        self.beats = SimBeats(self.clock.monotonic, self.random)
        self.moves = SimMoves(
            after=self.clock.after,
            reaches=lambda a, b: b in self.network.reachable(a),
            frozen=lambda n: self.servers[n].frozen,
            tell=self.tell,
        )
        self.servers = {n.name: self._server(n, started) for n in layout.nodes}
        self.fence = SimFence(
            {n.name: self._cut_by_fence(n.name) for n in layout.nodes if n.fence}, lambda n: not self.servers[n].on
        )
        self.second_fence = SimFence(
            {n.name: self._cut_by_fence(n.name) for n in layout.nodes if n.fence and n.fence_levels > 1},
            lambda n: not self.servers[n].on,
            "power2",
        )
        self.storage_fences = PoolFences(layout, self.disks, tell)
        self.settings = self._settings()
        self.database.truth.run(lambda tx: first_rows(tx, layout, self.clock.utc()))
        for node in layout.nodes:
            if node.on:
                self.power_on(node.name)

    def run_until(self, when: float, after_each: Callable[[], None] = lambda: None) -> None:
        """Let virtual time pass; look around after each thing that happens."""
        self.clock.run_until(when, after_each)

    def view(self) -> ClusterView:
        """The state as it is, whatever the database's condition."""
        return self.database.truth.run(load_view)

    def incidents_of(self, node: str) -> list[Incident]:
        """All that it ever had."""
        return list(self.database.truth.run(lambda tx: tx.incidents.where(node=node)))

    def write(self, work: Callable[[Transaction], None]) -> None:
        """What a customer's request does to the state."""
        self.database.truth.run(work)
        for server in self.servers.values():
            if server.on and not server.frozen and server.process is not None:
                self.network.send(server.layout.name, "look", None, 0)
                return

    # -- what happens to nodes

    def power_on(self, name: str) -> None:
        """Somebody presses the button. Corosync is up some seconds later, the agent a second after it."""
        server = self.servers[name]
        if server.on:
            return
        server.power_on()
        boot = server.boots
        booting = self.random.uniform(3.0, 5.0)
        self.clock.after(booting, lambda: self._boot(name, boot, lambda: self._up(name)))
        self.clock.after(booting + 1.0, lambda: self._boot(name, boot, lambda: self.start_agent(name)))

    def power_off(self, name: str, why: str) -> None:
        """Its power is gone, at once."""
        server = self.servers[name]
        if server.on:
            self.tell(name, f"is off: {why}")
            server.power_off()
            self.network.power(name, on=False)
            self.database.look()

    def reboot(self, name: str) -> None:
        """Its agent runs `systemctl reboot`: it goes down after a moment, and comes up unless it stays in the dark."""
        server, boot = self.servers[name], self.servers[name].boots

        def down() -> None:
            self.power_off(name, "it reboots")
            if not server.stays_off:
                self.clock.after(REBOOT_SECONDS, lambda: self.power_on(name))

        self.clock.after(0.5, lambda: self._boot(name, boot, down))

    def install(self, name: str, version: str) -> None:
        """Its agent has apt install that version: the agent is restarted in the end."""
        server, boot = self.servers[name], self.servers[name].boots

        def installed() -> None:
            if server.version != version:
                self.tell(name, f"has {version} installed")
                server.version = version
                self.kill_agent(name)

        self.clock.after(UPGRADE_SECONDS, lambda: self._boot(name, boot, installed))

    def shut_down(self, name: str, policy: ShutdownPolicy) -> None:
        """Somebody types `poweroff` on the host, which waits for its VMs, a minute at most."""
        server = self.servers[name]
        boot = server.boots
        leaving = HostShutdown(
            self.database.access(name, outdated=False), server.clock, name, policy,
            lambda: self.network.send(name, "look", None, 0), seconds_max=60, freeze_seconds=120,
        )  # fmt: skip

        def step() -> None:
            if server.frozen or not leaving.step():
                self.clock.after(0.5, lambda: self._boot(name, boot, step))
                return
            left = f", with {', '.join(leaving.left)} still there" if leaving.left else ""
            self.power_off(name, f"it was shut down in order{left}")

        if server.on:
            step()

    def freeze(self, name: str) -> None:
        """SIGSTOP to all of it."""
        if self.servers[name].on and not self.servers[name].frozen:
            self.servers[name].freeze()
            self.network.freeze(name)
            self.database.look()

    def thaw(self, name: str) -> None:
        """SIGCONT to all of it."""
        if self.servers[name].on and self.servers[name].frozen:
            self.servers[name].thaw()
            self.network.thaw(name)
            self.database.look()

    def cut(self, names: frozenset[str]) -> None:
        """These nodes reach each other and nobody else."""
        self.network.cut(names)
        self.database.look()

    def lose(self, *links: tuple[str, str]) -> None:
        """Packets from the first to the second of each pair are lost."""
        for sender, receiver in links:
            self.network.lose(sender, receiver)
        self.database.look()

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self.network.heal()
        self.database.look()

    def start_agent(self, name: str) -> None:
        """systemd starts the agent."""
        server = self.servers[name]
        if not server.on or server.process is not None:
            return
        if server.frozen:
            boot = server.boots
            self.clock.after(1.0, lambda: self._boot(name, boot, lambda: self.start_agent(name)))
            return
        process = AgentProcess(
            self.clock, self.random, lambda lane: self._latency(lane, name), lambda: server.slow,
            lambda: self._crashed(name, process),
        )  # fmt: skip
        server.process = process
        lead, own = self.settings
        if server.outdated:  # the version before has no storage fence
            lead = replace(lead, storage_fences=frozenset())
        process.start(Agent(self._ports(server, process), process.inbox, lead, own))
        SimMembership(self.network, name).start(process.put)

    def kill_agent(self, name: str) -> None:
        """kill -9; systemd starts it again."""
        server = self.servers[name]
        if server.process is None:
            return
        server.kill_agent()
        self.network.leave(name)
        boot = server.boots
        self.clock.after(AGENT_RESTART_SECONDS, lambda: self._boot(name, boot, lambda: self.start_agent(name)))

    def slow_down(self, name: str, times: float) -> None:
        """Everything on it takes so many times longer: an overloaded host. 1 is as usual."""
        server = self.servers[name]
        server.slow = self.network.slow[name] = server.hypervisor.slow = times

    def upgrade(self, name: str) -> None:
        """Its software is the newest from now on; for that its agent is restarted."""
        if self.servers[name].outdated:
            self.servers[name].outdated = False
            self.kill_agent(name)

    # -- inside

    def _told_api(self, name: str, kind: str) -> None:
        """Its API hears that its agent is silent. It ends one that hangs; one that is gone is started already."""
        server = self.servers[name]
        if not server.on or server.frozen or server.api_down or server.process is None or kind != SILENT:
            return
        self.tell(name, "its API ends the agent, which hangs")
        self.kill_agent(name)

    def _crashed(self, name: str, process: AgentProcess) -> None:
        if self.servers[name].process is process:
            self.tell(name, "its agent crashes")
            self.kill_agent(name)

    def _boot(self, name: str, boot: int, call: Callable[[], None]) -> None:
        """A later step of one boot; nothing when that boot is over."""
        if self.servers[name].on and self.servers[name].boots == boot:
            call()

    def _up(self, name: str) -> None:
        self.network.power(name, on=True)
        self.database.look()

    def _ring(self, members: frozenset[str], quorate: bool) -> None:
        self._on_ring(members, quorate)
        self.tell("corosync", f"{' '.join(sorted(members))}: {'quorate' if quorate else 'NO QUORUM'}")

    def _cut_by_fence(self, name: str) -> Callable[[], None]:
        return lambda: self.power_off(name, "its fence device cut the power")

    def _server(self, node: NodeLayout, started: Callable[[str, int, int], None]) -> SimServer:
        hypervisor = ToldHypervisor(
            node.name, self.clock.monotonic, self.disks, self.layout.boot_seconds, tell=self.tell, started=started
        )
        self.moves.join(hypervisor)
        pool = SimPool({"image": 1}, volumes=self.volumes)
        return SimServer(self.clock, node, hypervisor, pool, lambda: self._watchdog(node.name))

    def _watchdog(self, name: str) -> None:
        self.power_off(name, "its watchdog was not fed")

    def _latency(self, lane: str, on: str) -> float:
        kind, _, rest = lane.partition("-")
        random = self.random
        match kind:
            case "beat" | "beats" | "keeps" | "lease":
                return self.beats.latency(on)
            case "store" | "lead":
                return self.database.latency()
            case "vm":
                return random.uniform(*self.layout.start_seconds)
            case "move" | "abort":
                return random.uniform(0.05, 0.2)
            case "fence":
                node, _, method = rest.rpartition("-")
                lead, hangs = self.settings[0], self.servers[node].fence_hangs
                longest = {"power": lead.times.attempt_timeout_seconds, "power.read": lead.confirm_seconds_max}
                if method.startswith("storage"):
                    hangs = any(node in f.hangs for f in self.storage_fences.values())
                    longest[method] = lead.times.attempt_timeout_seconds
                if hangs and method in longest:
                    return longest[method] / self.servers[on].slow  # a time limit ends by the clock on a slow host too
                return random.uniform(0.3, 0.8)
            case "destroy":
                return random.uniform(0.05, 0.2)
            case _:
                return random.uniform(0.002, 0.02)

    def _settings(self) -> tuple[CoordinatorSettings, NodeAgentSettings]:
        layout = self.layout
        times = FencingTimes(layout.self_fence_seconds, layout.detection_skew_seconds)
        for node in layout.nodes:
            times.check(node.watchdog_seconds)
        heartbeat = HeartbeatTimes() if layout.heartbeat else None
        methods = {n.name: ("power", "power2")[: n.fence_levels] for n in layout.nodes if n.fence}
        lead = CoordinatorSettings(
            times,
            methods,
            frozenset(layout.storage_fences),
            startup_grace_seconds=layout.startup_grace_seconds,
            heartbeat=heartbeat,
        )
        own = NodeAgentSettings(
            self_fence_seconds=layout.self_fence_seconds,
            ring_silence_seconds=layout.detection_skew_seconds,
            leave_stop_seconds=8.0,
            heartbeat=heartbeat,
        )
        return lead, own

    def _ports(self, server: SimServer, process: AgentProcess) -> AgentPorts:
        node, name = server.layout, server.layout.name
        facts = NodeFacts(
            self._id(name), name, name, node.role, node.memory_mib, node.cores, node.rack,
            node.watchdog_seconds, f"{name}-boot-{server.boots}", node.cpu_models, node.pools, node.networks,
            server.version,
        )  # fmt: skip
        return AgentPorts(
            facts=facts,
            clock=server.clock,
            store=self.database.access(name, outdated=server.outdated),
            membership=SimMembership(self.network, name),
            hypervisor=server.hypervisor,
            watchdog=server,
            fence_methods=(self.fence, self.second_fence),
            pools=dict.fromkeys(sorted({v.pool for v in self.layout.vms} | {"pool"}), server.pool),
            workers=process.workers,
            check_health=server.problems,
            machine=SimMachine(lambda: self.reboot(name)),
            package=SimPackage(lambda version: self.install(name, version), lambda: server.refuses_upgrade),
            storage_fences={} if server.outdated else self.storage_fences,
            heartbeat=SimHeartbeat(self.beats, name, lambda: not server.pool.gone) if self.layout.heartbeat else None,
        )

    def vm_id(self, name: str) -> int:
        """The id of the VM with that name, also after it was removed."""
        return [v.name for v in self.layout.vms].index(name) + 1

    def _id(self, name: str) -> int:
        return [n.name for n in self.layout.nodes].index(name) + 1
