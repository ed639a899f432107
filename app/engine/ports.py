"""All that the engine acts through, in one value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.domain.placement_advice import PlacementAdvice
from app.ports.clock import Clock
from app.ports.fencing import FenceMethods
from app.ports.hypervisor import Hypervisor
from app.ports.machine import Machine
from app.ports.membership import Membership
from app.ports.package import Package
from app.ports.storage import Pool
from app.ports.storage_fence import StorageFence
from app.ports.storage_heartbeat import StorageHeartbeat
from app.ports.store import Store
from app.ports.tracing import NO_TRACING, Tracer
from app.ports.watchdog import Watchdog
from app.ports.workers import Workers
from app.services.report_observed import NodeFacts


@dataclass(frozen=True, slots=True)
class AgentPorts:
    """Built by bootstrap (real parts) or by the simulator (its own). `machine` None: it may not reboot its node;
    `package` None: it may not upgrade it. `check_database`: see `Node.database`.

    `storage_fences`: those of the pools that offer one, by the pool's name.
    """

    facts: NodeFacts
    clock: Clock
    store: Store
    membership: Membership
    hypervisor: Hypervisor
    watchdog: Watchdog
    fence_methods: FenceMethods
    pools: Mapping[str, Pool]
    workers: Workers
    check_health: Callable[[], tuple[str, ...]]
    check_database: Callable[[], str] = lambda: ""
    placement: PlacementAdvice | None = None
    machine: Machine | None = None
    package: Package | None = None
    storage_fences: Mapping[str, StorageFence] = field(default_factory=dict)
    heartbeat: StorageHeartbeat | None = None
    tracer: Tracer = NO_TRACING
