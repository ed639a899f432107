"""What a simulated cluster is made of, before anything happens to it."""

from dataclasses import dataclass, field

from app.domain.cluster_settings import AfterKeep
from app.domain.node import NodeRole
from app.domain.placement_group import GroupDomain, GroupKind
from app.domain.policy import HaClass, HaPolicy


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """One node. Memory in MiB; `watchdog_seconds` None: it has none; `fence`: a power device is configured for it.

    Its clock: see `NodeClock`. `outdated`: its software is one version behind, see `upgrade`.
    `fence_levels` 2: it has a second device, to be tried when the first has failed; that one always works.
    """

    name: str
    memory_mib: int = 4096
    cores: int = 8
    role: NodeRole = NodeRole.COMPUTE
    watchdog_seconds: float | None = 10.0
    fence: bool = True
    on: bool = True
    clock_ahead_seconds: float = 0.0
    clock_drift_ppm: float = 0.0
    outdated: bool = False
    rack: str = ""
    tags: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    cpu_models: tuple[str, ...] = ()
    fence_levels: int = 1


@dataclass(frozen=True, slots=True)
class VmLayout:
    """One VM. `node` empty: the coordinator places it. Memory in MiB. `ha.waits_for`: ids, from 1 in their order."""

    name: str
    memory_mib: int = 512
    node: str = ""
    priority: int = 50
    running: bool = True
    cores: int = 1
    ha_class: HaClass = HaClass.GUARANTEED
    tags: tuple[str, ...] = ()
    avoid_tags: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    cpu_model: str = ""
    groups: tuple[str, ...] = ()
    ha: HaPolicy = field(default_factory=HaPolicy)
    local: bool = False
    pool: str = "pool"


@dataclass(frozen=True, slots=True)
class GroupLayout:
    """One placement group of the only project."""

    name: str
    kind: GroupKind = GroupKind.SPREAD
    domain: GroupDomain = GroupDomain.NODE


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole cluster. `image_lock`: the storage refuses a second open of a volume, as QEMU's lock does."""

    nodes: tuple[NodeLayout, ...]
    vms: tuple[VmLayout, ...] = ()
    groups: tuple[GroupLayout, ...] = ()
    seed: int = 1
    image_lock: bool = False
    boot_seconds: float = 2.0
    startup_grace_seconds: float = 30.0
    cluster_starts_max: int = 0
    self_fence_seconds: float = 5.0
    detection_skew_seconds: float = 2.0
    strategy: str = "fewest-vms"
    memory_overcommit: float = 1.0
    cpu_overcommit: float = 4.0
    storm_share: float = 0.5
    quarantine_losses: int = 3
    quarantine_seconds: float = 7200.0
    rebalance: bool = False
    #: the pools that can cut a node off
    storage_fences: tuple[str, ...] = ()
    #: the storage carries a heartbeat, and what an operator has set for nodes that are isolated
    heartbeat: bool = False
    isolated_keep_seconds: float = 300.0
    isolated_then: AfterKeep = AfterKeep.FENCE
    start_seconds: tuple[float, float] = field(default=(0.2, 0.6))
