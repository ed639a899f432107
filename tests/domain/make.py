"""Short ways to make the nouns, so that a test shows only what it is about."""

from datetime import UTC, datetime
from typing import Any

from app.domain.cluster import ClusterView, Incident, IncidentPhase, Proof
from app.domain.node import Node, NodeRole, NodeState
from app.domain.vm import Observed, PowerSeen, Vm

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
SEEN_OFF = Proof("power", "status off")


def node(name: str, **other: Any) -> Node:
    """An online compute node with 4096 MiB, 8 cores and a watchdog of 10 s."""
    facts: dict[str, Any] = {"memory_mib": 4096, "cores": 8, "watchdog_seconds": 10.0, **other}
    return Node(int(name[1:]), name, f"10.0.0.{name[1:]}", **facts)


def lost(name: str, **other: Any) -> Node:
    return node(name, state=NodeState.LOST, **other)


def fenced(name: str, **other: Any) -> Node:
    return node(name, state=NodeState.FENCED, **other)


def spare(name: str, **other: Any) -> Node:
    return node(name, role=NodeRole.SPARE, **other)


def witness(name: str, **other: Any) -> Node:
    return node(name, role=NodeRole.WITNESS, **other)


def vm(vm_id: int, where: str | None = "n1", generation: int = 1, **other: Any) -> Vm:
    """A VM of 512 MiB that should run there."""
    facts: dict[str, Any] = {"cores": 1, "memory_mib": 512, "disk_gib": 1, "pool": "pool", **other}
    return Vm(
        vm_id, f"vm{vm_id}", 1, "small", image="image", created=WHEN, node=where, generation=generation,
        **facts,
    )  # fmt: skip


def seen(power: PowerSeen, vm_: Vm, **other: Any) -> Observed:
    """What the VM's present node reports about its present generation."""
    return Observed(power, vm_.generation, vm_.node or "", **other)


def up(vm_: Vm) -> Observed:
    """Verified running where it is assigned."""
    return seen(PowerSeen.RUNNING, vm_, verified_at=WHEN)


def incident(name: str, phase: IncidentPhase = IncidentPhase.FENCING, **other: Any) -> Incident:
    return Incident(other.pop("id", 1), name, phase, WHEN, **other)


def view(nodes: list[Node], vms: list[Vm] | None = None, incidents: list[Incident] | None = None) -> ClusterView:
    return ClusterView(tuple(nodes), tuple(vms or ()), tuple(incidents or ()), epoch=1)
