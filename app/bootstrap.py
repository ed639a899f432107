"""The only place that builds adapters and wires them together.

The HTTP server and Alembic are imported where they are used: the agent needs neither, and must be back quickly when it
is started again, for its watchdog waits.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from app.adapters.cluster_files import places
from app.adapters.cluster_files.follow_layout import FollowLayout
from app.adapters.cluster_files.member_names import MemberNames
from app.adapters.corosync.membership import CorosyncMembership
from app.adapters.db.local_member import LocalMember
from app.adapters.db.schema_floor import require_fit
from app.adapters.db.store import SqlStore
from app.adapters.fencing.fence_agents import FenceAgent, FenceDevice
from app.adapters.heartbeat.directory import DirectoryHeartbeat
from app.adapters.libvirt.hypervisor import LibvirtHypervisor
from app.adapters.libvirt.migration import MigrationChoices
from app.adapters.metrics.agent_file import FILE as AGENT_METRICS
from app.adapters.metrics.agent_file import AgentFile, read_agent_file
from app.adapters.metrics.watchdog import MeasuredWatchdog
from app.adapters.single.membership import SingleNodeMembership
from app.adapters.system.agent_restart import AgentRestart
from app.adapters.system.clock import SystemClock
from app.adapters.system.collector import collect_again
from app.adapters.system.health import DiskCheck, pool_directories
from app.adapters.system.machine import SystemdMachine, boot_id, cores, memory_mib
from app.adapters.system.no_hypervisor import NoHypervisor
from app.adapters.system.package import DebianPackage
from app.adapters.system.service_notify import ServiceNotify
from app.adapters.system.workers import ThreadWorkers
from app.adapters.watchdog.device import DeviceWatchdog, NoWatchdog, OpenedByFirstFeed, timeout_kept
from app.config import Config, method_of_level
from app.domain.errors import StaleEpoch
from app.domain.events import DomainChanged, MembershipChanged, SignalReceived
from app.domain.node import NodeRole
from app.domain.soft_fence import GONE, SILENT
from app.engine.agent_loop import Agent
from app.engine.fact_log import logged
from app.engine.fence_rehearsal import FenceRehearsal, first_round_seconds
from app.engine.inbox import Inbox
from app.engine.leave import HostShutdown
from app.engine.path_reports import PathReporter
from app.engine.periodic import Periodic
from app.engine.ports import AgentPorts
from app.plugin_api.drivers import NetworkContext
from app.plugin_api.registry import Registry
from app.ports.billing import Delivery
from app.ports.fencing import FenceMethods
from app.ports.hypervisor import Hypervisor
from app.ports.membership import Membership, MembershipEvent
from app.ports.storage import Pool
from app.ports.storage_fence import StorageFence
from app.ports.storage_heartbeat import StorageHeartbeat
from app.ports.store import Store
from app.ports.tracing import NO_TRACING, ClosableTracer
from app.ports.watchdog import Watchdog
from app.services.bootstrap_cloud import bootstrap_cloud
from app.services.deliver_outbox import deliver_due
from app.services.remind_disarmed import remind_disarmed
from app.services.report_observed import NodeFacts
from app.services.route_delivery import ByScheme

log = structlog.get_logger(__name__)

#: how often the API tells systemd that it lives
ALIVE_SECONDS = 5.0
#: how often the agent writes its metrics
METRICS_SECONDS = 5.0


def build_store(config: Config) -> SqlStore:
    """The database, by the configured URLs in their order."""
    return SqlStore(config.database.urls)


def upgrade_database(config: Config) -> tuple[str, ...]:
    """Bring the schema as far as the version before can go on with it; what is left for `contract_database`."""
    from app.adapters.db import schema

    return schema.upgrade(config.database.urls[0])


def contract_database(config: Config) -> tuple[str, ...]:
    """Take away what only the version before used of the schema; Conflict while a node has another version."""
    from app.adapters.db import schema

    return schema.contract(config.database.urls[0], config.node.name)


def require_schema(config: Config) -> None:
    """SoftwareTooOld where this software is too old for the state."""
    require_fit(config.database.urls[0], version("holdfast"))


def build_database_check(config: Config) -> LocalMember:
    """This node's own member of the database: the one that is reached by its socket."""
    url = config.database.urls[0]
    return LocalMember(url if "unix_socket=" in url else None)


def build_membership(config: Config, *, agent: bool, names: Mapping[int, str] | None = None) -> Membership:
    """Corosync, or this node alone. Only agents are in the agents' group. `names`: members whose list may grow."""
    if config.membership.driver == "single":
        return SingleNodeMembership(config.node.name)
    return CorosyncMembership(names or {m.id: m.name for m in config.membership.members}, agent=agent)


class LayoutFollower:
    """Lets this node's files follow the cluster's layout; does nothing where `cluster init` or `join` never ran."""

    def __init__(self, node: str, store: Store) -> None:
        self._store = store
        self._files = FollowLayout(node) if places.LAYOUT.exists() else None
        self.names = self._files.names if self._files else None

    def __call__(self) -> None:
        """One look."""
        if self._files is not None:
            for layout in self._store.run(lambda tx: tx.layouts.where()):
                self._files.apply(layout)


def build_hypervisor(config: Config) -> Hypervisor:
    """libvirt on this node, none on a witness. QEMU writes the consoles itself, so their directory must be there."""
    if config.node.role is NodeRole.WITNESS:
        return NoHypervisor()
    Path(config.libvirt.console_dir).mkdir(parents=True, exist_ok=True)
    way = config.migration
    choices = MigrationChoices(way.uri, way.data_uri, way.tls, way.unsafe, way.bandwidth_mib_per_second_max)
    return LibvirtHypervisor(
        config.libvirt.uri, config.libvirt.domain_type, config.libvirt.console_dir, migration=choices
    )


def build_pools(config: Config, registry: Registry) -> Mapping[str, Pool]:
    """Every configured pool, by name."""
    return {p.name: registry.storage(p.driver, p.options, name=p.name, shared=p.shared) for p in config.pools}


def build_storage_fences(config: Config, registry: Registry) -> Mapping[str, StorageFence]:
    """Those of the pools that offer one, by the pool's name."""
    found = {p.name: registry.storage_fence(p.driver, p.options, name=p.name, shared=p.shared) for p in config.pools}
    return {name: fence for name, fence in found.items() if fence is not None}


def build_watchdog(config: Config) -> Watchdog:
    """The configured device, armed when it is fed for the first time; or none."""
    path, wanted = config.watchdog.path, config.watchdog.timeout_seconds
    if not path:
        return NoWatchdog()
    return OpenedByFirstFeed(timeout_kept(path, wanted), lambda: DeviceWatchdog(path, wanted))


def build_heartbeat(config: Config) -> StorageHeartbeat | None:
    """The second heartbeat, in the directory of the pool that carries it; None without one."""
    path = config.heartbeat_path
    return DirectoryHeartbeat(path, config.node.name) if path is not None else None


def build_fence_methods(config: Config) -> FenceMethods:
    """The fence agents of all nodes, a method for each level: any node may be the coordinator."""
    levels: dict[int, dict[str, list[FenceDevice]]] = {}
    for d in config.fence_devices:
        levels.setdefault(d.level, {}).setdefault(d.node, []).append(FenceDevice(d.command, d.options))
    return tuple(FenceAgent(method_of_level(level), those) for level, those in sorted(levels.items()))


def build_rehearsal(
    config: Config, methods: FenceMethods, storage: Mapping[str, StorageFence], store: Store, clock: SystemClock
) -> Periodic:
    """This node's checks of the others' fence devices, and of the pools' fences."""
    me, every = config.node.name, config.recovery.fence_check_seconds
    rehearsal = FenceRehearsal(me, [d.node for d in config.fence_devices], methods, store, clock, every, storage)
    return Periodic("fence devices", every, rehearsal, first_seconds=first_round_seconds(me, every))


def build_metrics(config: Config, hypervisor: Hypervisor, watchdog: MeasuredWatchdog) -> AgentFile:
    """What this node's agent measures, for this node's API to tell."""
    sources = [watchdog.metrics] + ([hypervisor.metrics] if isinstance(hypervisor, LibvirtHypervisor) else [])
    return AgentFile(Path(config.state_dir) / AGENT_METRICS, sources)


def build_delivery(config: Config, registry: Registry) -> Delivery:
    """Webhooks by the configured plugin, and mail where there is a mail server."""
    hooks = config.webhooks
    web = registry.billing(hooks.driver, {"allow_private_targets": hooks.allow_private_targets})
    mail = {"mailto": registry.billing("mail", config.notify.mail)} if config.notify.mail else {}
    return ByScheme({"http": web, "https": web, **mail})


def build_tracer(config: Config, service: str) -> ClosableTracer:
    """Spans to the collector that is configured. Its library is loaded only then."""
    if not config.tracing.otlp_endpoint:
        return NO_TRACING
    from app.adapters.tracing.otlp import OtlpTracer

    t = config.tracing
    return OtlpTracer(
        t.otlp_endpoint, t.headers, t.share, service=service, version=version("holdfast"), node=config.node.name
    )


def node_facts(config: Config, watchdog_seconds: float | None) -> NodeFacts:
    """What this node says about itself."""
    node = config.node
    return NodeFacts(
        node.id, node.name, node.address, node.role, node.memory_mib or memory_mib(), node.cores or cores(),
        node.rack, watchdog_seconds, boot_id(), node.cpu_models, tuple(p.name for p in config.pools), node.networks,
        version("holdfast"),
    )  # fmt: skip


class AgentProcess:
    """One node's agent with all its parts, from start to stop."""

    def __init__(self, config: Config) -> None:
        require_schema(config)
        self._inbox = Inbox()
        self._clock = SystemClock()
        self._store = build_store(config)
        registry = Registry.load()
        follower = LayoutFollower(config.node.name, self._store)
        self._membership = build_membership(config, agent=True, names=follower.names)
        self._hypervisor = build_hypervisor(config)
        self._tracer = build_tracer(config, "holdfast-agent")
        self._workers = ThreadWorkers(logged(self._inbox.put_all))
        self._watchdog = MeasuredWatchdog(build_watchdog(config), self._clock.monotonic)
        pools, holding = pool_directories((p.name, p.driver, p.options) for p in config.pools)
        fence_methods, storage_fences = build_fence_methods(config), build_storage_fences(config, registry)
        ports = AgentPorts(
            facts=node_facts(config, self._watchdog.timeout_seconds),
            clock=self._clock,
            store=self._store,
            membership=self._membership,
            hypervisor=self._hypervisor,
            watchdog=self._watchdog,
            fence_methods=fence_methods,
            pools=build_pools(config, registry),
            workers=self._workers,
            check_health=DiskCheck({"state directory": Path(config.state_dir), **pools}, holding),
            placement=registry.placement_advice(),
            check_database=build_database_check(config),
            machine=SystemdMachine() if config.node.reboot_by_agent else None,
            package=DebianPackage() if config.node.upgrade_by_agent else None,
            storage_fences=storage_fences,
            heartbeat=build_heartbeat(config),
            tracer=self._tracer,
        )
        lead = replace(config.coordinator_settings, storage_fences=frozenset(storage_fences))
        self._agent = Agent(ports, self._inbox, lead, config.node_agent_settings)
        context = NetworkContext(config.node.name, lambda kind, text: log.info(text, kind=kind))
        self._watches = [registry.network(n.driver, n.options, context) for n in config.networks]
        delivery = build_delivery(config, registry)
        self._side: tuple[Periodic, ...] = (
            Periodic("layout", 2.0, follower),
            build_rehearsal(config, fence_methods, storage_fences, self._store, self._clock),
            Periodic("paths", 0.5, PathReporter(config.node.name, self._store, self._clock, self._watches)),
            Periodic("metrics", METRICS_SECONDS, build_metrics(config, self._hypervisor, self._watchdog)),
            Periodic("reminder", 30.0, lambda: self._remind(config.notify.disarmed_seconds)),
            Periodic("deliveries", 0.5, lambda: self._deliver(delivery, config.webhooks.delays_seconds)),
        )
        self._stop = threading.Event()

    def run(self) -> None:
        """Until `stop`. VMs run on after it; the watchdog is disarmed only if none is left."""
        self._membership.start(self._inbox.put)
        self._hypervisor.watch(lambda: self._inbox.put(DomainChanged()))
        for watch in self._watches:
            watch.start()
        for side in self._side:
            side.start()
        collect_again()
        systemd = ServiceNotify()
        systemd.ready()
        self._agent.run(self._stop.is_set, alive=systemd.alive)
        systemd.stopping()
        for side in self._side:
            side.stop()
        for watch in self._watches:
            watch.stop()
        self._membership.stop()
        self._workers.close()
        self._tracer.close()
        if self._agent.node.domains is not None and not self._agent.node.domains:
            self._watchdog.disarm()
        self._hypervisor.close()
        self._store.close()

    def stop(self) -> None:
        """From any thread or a signal handler."""
        self._stop.set()

    def _deliver(self, delivery: Delivery, delays_seconds: Sequence[float]) -> None:
        if self._agent.coordinator.leading:
            deliver_due(self._store, delivery, self._clock, delays_seconds)

    def _remind(self, disarmed_seconds: float) -> None:
        epoch, now = self._agent.coordinator.epoch, self._clock.utc()
        if epoch is not None:
            with suppress(StaleEpoch):
                self._store.run(lambda tx: remind_disarmed(tx, epoch, disarmed_seconds, now))


class SeenMembers:
    """A sink of membership that keeps who is a member now, and hands signals on."""

    def __init__(self, signalled: Callable[[SignalReceived], None]) -> None:
        self.members: frozenset[str] = frozenset()
        self._signalled = signalled

    def __call__(self, event: MembershipEvent) -> None:
        """From the membership's own thread."""
        if isinstance(event, MembershipChanged):
            self.members = event.members
        elif isinstance(event, SignalReceived):
            self._signalled(event)


def serve_api(config: Config, stop: threading.Event) -> None:
    """The API on its address and its socket, until `stop`."""
    require_schema(config)
    # An API that did not know a node by its name would let an operator call it dead while it is a member.
    names = MemberNames({m.id: m.name for m in config.membership.members})
    membership = build_membership(config, agent=False, names=names)
    seen = SeenMembers(AgentRestart(config.node.name, {SILENT: config.api.end_agent, GONE: config.api.start_agent}))
    membership.start(seen)
    store = build_store(config)
    registry = Registry.load()
    from app.api import AgentMetrics, ApiDeps, ApiServer, create_api

    def agent_metrics() -> AgentMetrics | None:
        found = read_agent_file(Path(config.state_dir) / AGENT_METRICS)
        return None if found is None else AgentMetrics(*found)

    tracer = build_tracer(config, "holdfast-api")
    deps = ApiDeps(
        store=store,
        clock=SystemClock(),
        signal=lambda vm_id: membership.send("look", vm_id=vm_id),
        admission=registry.admission_votes(),
        placement=registry.placement_advice(),
        local_pools=frozenset(p.name for p in config.pools if not p.shared),
        members=lambda: seen.members,
        agent_metrics=agent_metrics,
        contract_schema=lambda: contract_database(config),
        tracer=tracer,
    )
    servers = [ApiServer(create_api(deps), **where) for where in _listens(config)]
    for server in servers:
        server.start()
    collect_again()
    systemd = ServiceNotify()
    systemd.ready()
    while not stop.wait(timeout=ALIVE_SECONDS):
        systemd.alive()
    for server in servers:
        server.stop()
    tracer.close()
    membership.stop()
    store.close()


def _listens(config: Config) -> list[dict[str, Any]]:
    wheres: list[dict[str, Any]] = []
    if config.api.listen:
        host, _, port = config.api.listen.rpartition(":")
        wheres.append({"host": host, "port": int(port)})
    if config.api.socket:
        wheres.append({"socket": config.api.socket})
    return wheres


def first_tokens(config: Config) -> dict[str, str]:
    """The first project, an operator's and a customer's token: printed once, stored hashed."""
    store, now = build_store(config), SystemClock().utc()
    try:
        return store.run(lambda tx: bootstrap_cloud(tx, now))
    finally:
        store.close()


def shut_down(config: Config) -> Sequence[str]:
    """What the orderly shutdown of this host waits for. The names of the VMs that are still here at its end."""
    node, store = config.node, build_store(config)
    membership = build_membership(config, agent=False)
    membership.start(lambda _event: None)
    try:
        leaving = HostShutdown(
            store, SystemClock(), node.name, node.on_shutdown, lambda: membership.send("look"),
            seconds_max=node.shutdown_seconds_max, freeze_seconds=node.freeze_seconds,
        )  # fmt: skip
        while not leaving.step():
            time.sleep(0.5)
        return leaving.left
    finally:
        membership.stop()
        store.close()
