"""What the API is built from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.domain.placement_advice import PlacementAdvice
from app.ports.clock import Clock
from app.ports.store import Store
from app.ports.tracing import NO_TRACING, Tracer
from app.services.create_vm import Vote


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What customers see of where they are, and what a request may weigh.

    There is one location, and one datacenter in it for older tools. `country` is ISO 3166-1 alpha-2.
    """

    location: str = "main"
    location_description: str = "Main location"
    country: str = ""
    city: str = ""
    latitude: float = 0.0
    longitude: float = 0.0
    network_zone: str = "main"
    body_bytes_max: int = 256 * 1024


#: what an agent wrote longer ago says nothing of now
AGENT_FRESH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class AgentMetrics:
    """What this node's agent measured, in Prometheus' text format, and how long ago that was written."""

    text: bytes
    age_seconds: float


@dataclass(frozen=True, slots=True)
class ApiDeps:
    """`signal(vm_id)` tells the agents to look at a VM (None: at everything); losing one costs a sweep interval.

    `admission` votes on each new VM, see `holdfast_admit_vm`; `placement` is what plugins add to placement.
    `local_pools`: those that only one node reaches.
    `contract_schema()` ends an upgrade: it takes away what only the version before used, and says what that was.
    `certificates()`: when this node's end, by name, in seconds since the epoch.
    `members()` are the nodes that Corosync sees right now; `agent_metrics()` what this node's agent
    measured, if it did.
    """

    store: Store
    clock: Clock
    signal: Callable[[int | None], None]
    admission: Sequence[Vote] = ()
    settings: ApiSettings = ApiSettings()
    placement: PlacementAdvice | None = None
    local_pools: frozenset[str] = frozenset()
    members: Callable[[], frozenset[str]] = frozenset
    certificates: Callable[[], Mapping[str, float]] = dict
    contract_schema: Callable[[], Sequence[str]] = tuple
    agent_metrics: Callable[[], AgentMetrics | None] = lambda: None
    tracer: Tracer = NO_TRACING
