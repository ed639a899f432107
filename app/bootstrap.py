"""The only place that builds adapters and wires them together."""

import secrets
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import uvicorn

from app.adapters.corosync.membership import CorosyncMembership
from app.adapters.db import schema
from app.adapters.db.store import SqlStore
from app.adapters.fencing.fence_agents import FenceAgent, FenceDevice
from app.adapters.libvirt.hypervisor import LibvirtHypervisor
from app.adapters.single.membership import SingleNodeMembership
from app.adapters.system.clock import SystemClock
from app.adapters.system.health import DiskCheck
from app.adapters.system.machine import boot_id, cores, memory_mib
from app.adapters.system.workers import ThreadWorkers
from app.adapters.watchdog.device import DeviceWatchdog, NoWatchdog
from app.api import ApiDeps, create_api
from app.config import Config
from app.engine.agent_loop import Agent
from app.engine.inbox import Inbox
from app.engine.periodic import Periodic
from app.engine.ports import AgentPorts
from app.plugin_api.registry import Registry
from app.ports.membership import Membership
from app.ports.network import PathWatch
from app.ports.storage import Pool
from app.ports.store import Store
from app.ports.watchdog import Watchdog
from app.services.report_observed import NodeFacts


def build_store(config: Config) -> SqlStore:
    """The database, by the configured URLs in their order."""
    return SqlStore(config.database.urls)


def upgrade_database(config: Config) -> None:
    """Bring the schema of the first database that answers to this version."""
    schema.upgrade(config.database.urls[0])


def build_membership(config: Config, *, agent: bool) -> Membership:
    """Corosync, or this node alone. Only agents are in the agents' group."""
    if config.membership.driver == "single":
        return SingleNodeMembership(config.node.name)
    return CorosyncMembership({m.id: m.name for m in config.membership.members}, agent=agent)


def build_hypervisor(config: Config) -> LibvirtHypervisor:
    """libvirt on this node."""
    return LibvirtHypervisor(config.libvirt.uri, config.libvirt.domain_type, config.libvirt.console_dir)


def build_pools(config: Config, registry: Registry) -> Mapping[str, Pool]:
    """Every configured pool, by name."""
    return {p.name: registry.storage(p.driver, p.options, name=p.name, shared=p.shared) for p in config.pools}


def build_watchdog(config: Config) -> Watchdog:
    """The configured device, armed by this; or none."""
    if not config.watchdog.path:
        return NoWatchdog()
    return DeviceWatchdog(config.watchdog.path, config.watchdog.timeout_seconds)


def build_fence_agents(config: Config) -> FenceAgent:
    """The fence agents of all nodes: any node may be the coordinator."""
    return FenceAgent("power", {d.node: FenceDevice(d.command, d.options) for d in config.fence_devices})


def node_facts(config: Config, watchdog_seconds: float | None) -> NodeFacts:
    """What this node says about itself."""
    node = config.node
    return NodeFacts(
        node.id, node.name, node.address, node.role, node.memory_mib or memory_mib(), node.cores or cores(),
        node.rack, watchdog_seconds, boot_id(),
    )  # fmt: skip


class AgentProcess:
    """One node's agent with all its parts, from start to stop."""

    def __init__(self, config: Config) -> None:
        self._inbox = Inbox()
        self._clock = SystemClock()
        self._store = build_store(config)
        self._registry = Registry.load()
        self._membership = build_membership(config, agent=True)
        self._hypervisor = build_hypervisor(config)
        self._workers = ThreadWorkers(self._inbox.put_all)
        pools = build_pools(config, self._registry)
        self._watchdog = build_watchdog(config)
        facts = node_facts(config, self._watchdog.timeout_seconds)
        directories = {"state directory": Path(config.state_dir)}
        directories |= {f"pool {p.name}": Path(str(p.options["path"])) for p in config.pools if "path" in p.options}
        ports = AgentPorts(
            facts=facts,
            clock=self._clock,
            store=self._store,
            membership=self._membership,
            hypervisor=self._hypervisor,
            watchdog=self._watchdog,
            fence_methods=(build_fence_agents(config),),
            pools=pools,
            workers=self._workers,
            check_health=DiskCheck(directories),
        )
        self._agent = Agent(ports, self._inbox, config.coordinator_settings, config.node_agent_settings)
        self._side = self._side_work(config)
        self._stop = threading.Event()

    def run(self) -> None:
        """Until `stop`. VMs run on after it; the watchdog is disarmed only if none is left."""
        from app.domain.events import DomainChanged

        self._membership.start(self._inbox.put)
        self._hypervisor.watch(lambda: self._inbox.put(DomainChanged()))
        for part in self._side:
            part.start()
        self._agent.run(self._stop.is_set)
        for part in reversed(self._side):
            part.stop()
        self._membership.stop()
        self._workers.close()
        if self._agent.node.domains is not None and not self._agent.node.domains:
            self._watchdog.disarm()
        self._hypervisor.close()

    def stop(self) -> None:
        """From any thread or a signal handler."""
        self._stop.set()
