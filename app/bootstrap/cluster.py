"""What ties a process to its cluster, as the configuration wants it: an agent, an API or a command.

Nothing here needs libvirt: to load its binding and an agent's other parts takes a tenth of the start of an API.
"""

from collections.abc import Mapping
from importlib.metadata import version

from app.adapters.corosync.membership import CorosyncMembership
from app.adapters.heartbeat.directory import DirectoryHeartbeat
from app.adapters.single.membership import SingleNodeMembership
from app.config import Config
from app.ports.membership import Membership
from app.ports.storage_heartbeat import StorageHeartbeat
from app.ports.tracing import NO_TRACING, ClosableTracer


def build_membership(config: Config, *, agent: bool, names: Mapping[int, str] | None = None) -> Membership:
    """Corosync, or this node alone. Only agents are in the agents' group. `names`: members whose list may grow."""
    if config.membership.driver == "single":
        return SingleNodeMembership(config.node.name)
    return CorosyncMembership(names or {m.id: m.name for m in config.membership.members}, agent=agent)


def build_heartbeat(config: Config) -> StorageHeartbeat | None:
    """The second heartbeat, in the directory of the pool that carries it; None without one."""
    path = config.heartbeat_path
    return DirectoryHeartbeat(path, config.node.name) if path is not None else None


def build_tracer(config: Config, service: str) -> ClosableTracer:
    """Spans to the collector that is configured. Its library is loaded only then."""
    if not config.tracing.otlp_endpoint:
        return NO_TRACING
    from app.adapters.tracing.otlp import OtlpTracer

    t = config.tracing
    return OtlpTracer(
        t.otlp_endpoint, t.headers, t.share, service=service, version=version("holdfast"), node=config.node.name
    )
