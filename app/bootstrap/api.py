"""The API on its sockets. The HTTP server is imported here and nowhere else."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.adapters.cluster_files.certificate_ends import CertificateEnds
from app.adapters.cluster_files.member_names import MemberNames
from app.adapters.metrics.agent_file import FILE as AGENT_METRICS
from app.adapters.metrics.agent_file import read_agent_file
from app.adapters.system.agent_restart import AgentRestart
from app.adapters.system.clock import SystemClock
from app.adapters.system.collector import collect_again
from app.adapters.system.service_notify import ServiceNotify
from app.api import AgentMetrics, ApiDeps, ApiServer, create_api
from app.bootstrap.cluster import build_membership, build_tracer
from app.bootstrap.state import build_store, contract_database, require_schema
from app.config import Config
from app.domain.events import MembershipChanged, SignalReceived
from app.domain.soft_fence import GONE, SILENT
from app.plugin_api.registry import Registry
from app.ports.membership import MembershipEvent

#: how often the API tells systemd that it lives
ALIVE_SECONDS = 5.0


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
        certificates=CertificateEnds(),
        contract_schema=lambda: contract_database(config),
        tracer=tracer,
    )
    servers = build_servers(deps, config)
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


def build_servers(deps: ApiDeps, config: Config) -> list[ApiServer]:
    """One for each place where the API listens. They share what they count: /metrics tells of the process."""
    api = create_api(deps)
    return [ApiServer(api, **where) for where in _listens(config)]


def _listens(config: Config) -> list[dict[str, Any]]:
    wheres: list[dict[str, Any]] = []
    if config.api.listen:
        host, _, port = config.api.listen.rpartition(":")
        wheres.append({"host": host, "port": int(port)})
    if config.api.socket:
        wheres.append({"socket": config.api.socket})
    return wheres
