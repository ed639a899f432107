"""ClusterView: one frozen snapshot of everything a decision needs."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from app.domain.cluster_settings import ClusterSettings
from app.domain.node import Node, NodeState
from app.domain.placement_advice import PlacementAdvice
from app.domain.placement_group import PlacementGroup
from app.domain.rolling_run import RollingRun
from app.domain.vm import Vm


class IncidentPhase(StrEnum):
    """How far a recovery has come."""

    FENCING = "fencing"
    PLANNING = "planning"
    STARTING = "starting"
    CLOSED = "closed"


#: (phase, what happened) -> new phase. Anything not listed is a defect and raises.
PHASES: dict[tuple[IncidentPhase, str], IncidentPhase] = {
    (IncidentPhase.FENCING, "proven"): IncidentPhase.PLANNING,
    (IncidentPhase.FENCING, "returned"): IncidentPhase.CLOSED,
    (IncidentPhase.PLANNING, "void"): IncidentPhase.FENCING,
    (IncidentPhase.PLANNING, "planned"): IncidentPhase.STARTING,
    (IncidentPhase.STARTING, "finished"): IncidentPhase.CLOSED,
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an incident: what happened, when (UTC), and the facts that explain it."""

    at: datetime
    what: str
    detail: str = ""
    vm_id: int | None = None
    node: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """The fact that lets a fence count as done: which method, and what it saw."""

    method: str
    saw: str


@dataclass(frozen=True, slots=True)
class Incident:
    """The stored record of the loss of one node, every step with its time."""

    id: int
    node: str
    phase: IncidentPhase
    opened_at: datetime
    closed_at: datetime | None = None
    proof: Proof | None = None
    outcome: str = ""
    steps: tuple[Step, ...] = ()

    def after(self, what: str) -> IncidentPhase:
        """The phase after `what` happened; KeyError when the table does not allow it."""
        return PHASES[self.phase, what]


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Nodes, VMs, groups and open incidents as one transaction saw them. `at`: when, by the reader's clock, in UTC.

    `rolling`: the rolling reboot or upgrade that is under way, None without one.
    `advice` is what plugins add to every placement; None where there is no such plugin.
    """

    nodes: tuple[Node, ...]
    vms: tuple[Vm, ...]
    incidents: tuple[Incident, ...] = ()
    epoch: int = 0
    groups: tuple[PlacementGroup, ...] = ()
    settings: ClusterSettings = field(default_factory=ClusterSettings)
    at: datetime | None = None
    rolling: RollingRun | None = None
    advice: PlacementAdvice | None = field(default=None, compare=False, repr=False)

    def node(self, name: str) -> Node | None:
        """The node of that name, None if the cluster has none."""
        return next((n for n in self.nodes if n.name == name), None)

    def online(self) -> tuple[Node, ...]:
        """The nodes that may host VMs."""
        return tuple(n for n in self.nodes if n.state is NodeState.ONLINE)

    def incident_of(self, node: str) -> Incident | None:
        """The newest incident of that node whose VMs are not planned yet, if there is one."""
        early = (IncidentPhase.FENCING, IncidentPhase.PLANNING)
        return next((i for i in reversed(self.incidents) if i.node == node and i.phase in early), None)
