"""The agent: all its parts wired together, from start to stop; and the orderly shutdown of its host."""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import structlog

from app.adapters.cluster_files import places
from app.adapters.cluster_files.follow_layout import FollowLayout
from app.adapters.libvirt.hypervisor import LibvirtHypervisor
from app.adapters.metrics.agent_file import FILE as AGENT_METRICS
from app.adapters.metrics.agent_file import AgentFile
from app.adapters.metrics.watchdog import MeasuredWatchdog
from app.adapters.system.clock import SystemClock
from app.adapters.system.collector import collect_again
from app.adapters.system.health import DiskCheck, pool_directories
from app.adapters.system.machine import SystemdMachine, boot_id, cores, memory_mib
from app.adapters.system.package import DebianPackage
from app.adapters.system.service_notify import ServiceNotify
from app.adapters.system.workers import ThreadWorkers
from app.bootstrap.cluster import build_heartbeat, build_membership, build_tracer
from app.bootstrap.parts import (
    build_delivery,
    build_fence_methods,
    build_hypervisor,
    build_pools,
    build_storage_fences,
    build_watchdog,
)
from app.bootstrap.state import build_database_check, build_store, require_schema
from app.config import Config
from app.domain.errors import StaleEpoch
from app.domain.events import DomainChanged
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
from app.ports.hypervisor import Hypervisor, HypervisorError
from app.ports.storage_fence import StorageFence
from app.ports.store import Store
from app.services.deliver_outbox import deliver_due
from app.services.remind_disarmed import remind_disarmed
from app.services.report_observed import NodeFacts

log = structlog.get_logger(__name__)

#: how often the agent writes its metrics
METRICS_SECONDS = 5.0
#: how often libvirt is made to look at QEMU, which may have been upgraded; nothing but a look when it was not
QEMU_SECONDS = 3600.0
#: an agent that starts has more urgent things to do
QEMU_FIRST_SECONDS = 30.0


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


def build_qemu_learning(hypervisor: Hypervisor) -> Periodic:
    """libvirt knows this node's QEMU before a VM is to start here."""

    def learn() -> None:
        if isinstance(hypervisor, LibvirtHypervisor):
            try:
                hypervisor.learn_qemu()
            except HypervisorError as error:
                log.warning("libvirt does not know this node's QEMU yet", error=str(error))

    return Periodic("qemu", QEMU_SECONDS, learn, first_seconds=QEMU_FIRST_SECONDS)


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
            build_qemu_learning(self._hypervisor),
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
