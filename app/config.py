"""Typed settings, read once from a TOML file and handed down by value.

Every section has defaults for one node alone, so that `holdfast api` works without a file. A wrong or unknown
key is named with its place; nothing is guessed.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.adapters.cluster_files import places
from app.adapters.cluster_files.galera_conf import database_urls
from app.adapters.cluster_files.layout_json import layout_from_text
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.errors import DomainError
from app.domain.fencing import FencingTimes
from app.domain.host_shutdown import ShutdownPolicy
from app.domain.node import NodeRole
from app.domain.node_agent_state import NodeAgentSettings
from app.domain.storage_heartbeat import HeartbeatTimes


class ConfigError(DomainError):
    """The configuration file cannot be used. The text names the file, the key and what is wrong."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSection(_Section):
    """This node. Memory in MiB and cores are what may be promised to VMs; 0 means all that the machine has.

    `networks` it reaches and `cpu_models` it can offer to VMs; empty says nothing, and placement then asks nothing.
    """

    name: str = "localhost"
    id: int = Field(1, ge=1)
    address: str = "127.0.0.1"
    role: NodeRole = NodeRole.COMPUTE
    rack: str = ""
    memory_mib: int = Field(0, ge=0)
    cores: int = Field(0, ge=0)
    networks: tuple[str, ...] = ()
    cpu_models: tuple[str, ...] = ()
    #: an orderly shutdown of this host (app/domain/host_shutdown.py): what becomes of its VMs, how long it may wait for
    #: them, and with `freeze` how long nobody else starts them
    on_shutdown: ShutdownPolicy = ShutdownPolicy.MIGRATE
    shutdown_seconds_max: float = Field(300.0, gt=0)
    freeze_seconds: float = Field(900.0, gt=0)
    #: a rolling reboot may have this host rebooted by its agent; else it waits until an operator has done it
    reboot_by_agent: bool = False
    #: a rolling upgrade may have this host's package upgraded by its agent; else likewise
    upgrade_by_agent: bool = False


class DatabaseSection(_Section):
    """SQLAlchemy URLs, the preferred one first."""

    urls: tuple[str, ...] = ("sqlite:////var/lib/holdfast/holdfast.db",)


class MemberSection(_Section):
    """One node as Corosync knows it."""

    id: int
    name: str


class MembershipSection(_Section):
    """`single`: this node alone. `corosync`: `members` as in corosync.conf's nodelist."""

    driver: Literal["single", "corosync"] = "single"
    members: tuple[MemberSection, ...] = ()


class LibvirtSection(_Section):
    """`uri` as libvirt takes it; `domain_type` kvm, qemu (software emulation) or test (libvirt's own mock)."""

    uri: str = "qemu:///system"
    domain_type: Literal["kvm", "qemu", "test"] = "kvm"
    console_dir: str = "/var/log/holdfast/console"


class MigrationSection(_Section):
    """How live migration reaches the other nodes; see MigrationChoices in app/adapters/libvirt/migration.py.

    `{address}` and `{node}` in the URIs stand for the target's. It is given up without progress for `stall_seconds`, or
    after `seconds_max`.
    """

    uri: str = "qemu+tls://{address}/system"
    data_uri: str = "tcp://{address}"
    tls: bool = True
    unsafe: bool = False
    bandwidth_mib_per_second_max: int = Field(0, ge=0)
    stall_seconds: float = Field(60.0, gt=0)
    seconds_max: float = Field(900.0, gt=0)


class WatchdogSection(_Section):
    """`path` empty: no watchdog, and so no proof by time for this node."""

    path: str = ""
    timeout_seconds: float = Field(10.0, gt=0)


class RecoverySection(_Section):
    """See app/domain/fencing.py for what the figures mean together."""

    self_fence_seconds: float = Field(5.0, gt=0)
    detection_skew_seconds: float = Field(2.0, gt=0)
    fence_timeout_seconds: float = Field(20.0, gt=0)
    fence_retry_seconds: float = Field(1.0, gt=0)
    blip_seconds: float = Field(3.5, ge=0)
    fence_check_seconds: float = Field(300.0, ge=1)
    agent_silence_seconds: float = Field(4.0, ge=3)
    soft_fence_wait_seconds: float = Field(20.0, ge=5)
    startup_grace_seconds: float = Field(30.0, ge=0)
    starts_per_node_max: int = Field(3, ge=1)


class FenceDeviceSection(_Section):
    """A fence agent of `node`: its command, and the options it gets as key=value on stdin.

    Devices of one `level` must all be off (one for each power supply); the next level is tried when one has failed.
    """

    node: str
    level: int = Field(1, ge=1, le=9)
    command: tuple[str, ...] = Field(min_length=1)
    options: dict[str, str] = {}


class PoolSection(_Section):
    """A pool and the storage plugin that drives it.

    `heartbeat`: its directory (`options.path`, shared by all nodes) also carries the nodes' second heartbeat.
    """

    name: str
    driver: str
    shared: bool = False
    options: dict[str, object] = {}
    heartbeat: bool = False

    @model_validator(mode="after")
    def _can_carry_it(self) -> "PoolSection":
        if self.heartbeat and not (self.shared and self.options.get("path")):
            raise ValueError("a pool with `heartbeat` must be shared = true and have a directory, options.path")
        return self


class NetworkSection(_Section):
    """A network plugin of this node."""

    driver: str
    options: dict[str, object] = {}


class ApiSection(_Section):
    """`listen` is ADDRESS:PORT, empty for none; `socket` a path, empty for none.

    `end_agent` and `start_agent`: what is run here when the coordinator says that this node's agent is silent, or gone;
    empty: nothing. The agent must be started again after the first of them.
    """

    listen: str = "127.0.0.1:8470"
    socket: str = ""
    end_agent: tuple[str, ...] = (
        "systemctl", "--no-ask-password", "kill", "--kill-whom=main", "--signal=KILL", "holdfast-agent.service",
    )  # fmt: skip
    start_agent: tuple[str, ...] = ("systemctl", "--no-ask-password", "start", "--no-block", "holdfast-agent.service")


class WebhooksSection(_Section):
    """`delays_seconds` between tries; the default is that of Standard Webhooks 1.0.0."""

    driver: str = "webhook"
    allow_private_targets: bool = False
    delays_seconds: tuple[float, ...] = (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


class NotifySection(_Section):
    """What operators are told beside events: see docs/monitoring.md.

    `mail`: the options of the plugin `mail`; empty: no mail. `disarmed_seconds`: automation that stays disarmed for so
    long is told once.
    """

    mail: dict[str, object] = {}
    disarmed_seconds: float = Field(3600.0, gt=0)


class TracingSection(_Section):
    """Traces to an OpenTelemetry collector. `otlp_endpoint`: URL of its OTLP/HTTP receiver, such as
    http://collector:4318/v1/traces; empty: none. `headers` are sent along; `share` of the traces, 0 to 1.
    """

    otlp_endpoint: str = Field("", pattern="^(https?://.+)?$")
    headers: dict[str, str] = {}
    share: float = Field(1.0, ge=0, le=1)


class Config(_Section):
    """The whole file."""

    node: NodeSection = NodeSection()
    database: DatabaseSection = DatabaseSection()
    membership: MembershipSection = MembershipSection()
    libvirt: LibvirtSection = LibvirtSection()
    migration: MigrationSection = MigrationSection()
    watchdog: WatchdogSection = WatchdogSection()
    recovery: RecoverySection = RecoverySection()
    fence_devices: tuple[FenceDeviceSection, ...] = ()
    pools: tuple[PoolSection, ...] = ()
    networks: tuple[NetworkSection, ...] = ()
    api: ApiSection = ApiSection()
    webhooks: WebhooksSection = WebhooksSection()
    notify: NotifySection = NotifySection()
    tracing: TracingSection = TracingSection()
    state_dir: str = "/var/lib/holdfast"

    @property
    def fencing_times(self) -> FencingTimes:
        """The figures of the proof by time; ValueError where they contradict the watchdog."""
        r = self.recovery
        times = FencingTimes(
            r.self_fence_seconds, r.detection_skew_seconds, r.fence_timeout_seconds, r.fence_retry_seconds
        )
        times.check(self.watchdog.timeout_seconds if self.watchdog.path else None)
        return times

    @property
    def heartbeat_path(self) -> Path | None:
        """The directory of the pool that carries the heartbeat over storage; None: there is none."""
        return next((Path(str(p.options["path"])) for p in self.pools if p.heartbeat), None)

    @property
    def heartbeat_times(self) -> HeartbeatTimes | None:
        """The figures of that heartbeat; ValueError where they contradict the watchdog, or two pools carry one."""
        if sum(p.heartbeat for p in self.pools) > 1:
            raise ValueError("one pool carries the heartbeat, and here are two: all nodes must read the same")
        times = HeartbeatTimes()
        times.check(self.fencing_times, self.watchdog.timeout_seconds if self.watchdog.path else None)
        return times if self.heartbeat_path else None

    @property
    def coordinator_settings(self) -> CoordinatorSettings:
        """What the coordinator decides with."""
        levels: dict[str, set[int]] = {}
        for d in self.fence_devices:
            levels.setdefault(d.node, set()).add(d.level)
        methods = {node: tuple(map(method_of_level, sorted(those))) for node, those in levels.items()}
        return CoordinatorSettings(
            times=self.fencing_times,
            fence_methods=methods,
            startup_grace_seconds=self.recovery.startup_grace_seconds,
            blip_seconds=self.recovery.blip_seconds,
            agent_silence_seconds=self.recovery.agent_silence_seconds,
            soft_fence_wait_seconds=self.recovery.soft_fence_wait_seconds,
            heartbeat=self.heartbeat_times,
        )

    @property
    def node_agent_settings(self) -> NodeAgentSettings:
        """What the node's agent decides with."""
        return NodeAgentSettings(
            self_fence_seconds=self.recovery.self_fence_seconds,
            starts_max=self.recovery.starts_per_node_max,
            # what is restarted elsewhere must be off before the time of the whole shutdown is up
            leave_stop_seconds=min(60.0, 0.15 * self.node.shutdown_seconds_max),
            move_stall_seconds=self.migration.stall_seconds,
            move_seconds_max=self.migration.seconds_max,
            heartbeat=self.heartbeat_times,
        )


def _with_layout(raw: dict[str, Any], directory: Path) -> dict[str, Any]:
    """What a cluster's layout says, where the file is silent: who the members are, and where the database is."""
    layout_file, password_file = directory / places.LAYOUT.name, directory / places.DATABASE_PASSWORD.name
    if not layout_file.exists():
        return raw
    try:
        layout = layout_from_text(layout_file.read_text(encoding="utf-8"))
        password = password_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from error
    except DomainError as error:
        raise ConfigError(f"{layout_file}: {error}") from error
    node = raw.get("node")
    own = layout.member(str(node.get("name"))) if isinstance(node, dict) else None
    if own is None:
        raise ConfigError(f"{layout_file}: the node of the configuration is no member of this cluster")
    members = [{"id": m.id, "name": m.name} for m in layout.members]
    found = {
        "database": {"urls": database_urls(layout, own, password)},
        "membership": {"driver": "corosync", "members": members},
    }
    return {**found, **raw}


def method_of_level(level: int) -> str:
    """The fencing method of that level: `power`, `power2`, ..."""
    return "power" if level == 1 else f"power{level}"


def load_config(path: Path) -> Config:
    """Read and check the file. ConfigError names what is wrong and where."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        config = Config.model_validate(_with_layout(raw, path.parent))
        config.fencing_times, config.heartbeat_times  # noqa: B018  the inequalities of time are checked at start
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(str(x) for x in e['loc'])}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {wrong}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: recovery: {error}") from error
    return config
