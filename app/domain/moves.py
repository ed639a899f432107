"""Which live migrations to begin now, and why not the others.

A VM moves because an operator asked for it, because its node is being emptied (drain), or because the loads are uneven
(`rebalance`). One plan for all of them keeps the caps: so many at once in the cluster, so many at one node, at either
end. A VM that migrates is promised its memory at both ends until it has arrived.

A drain never hangs silently: every VM that is not on its way is in `blocked`, with the reason, and what has failed
`TRIES_MAX` times in a row waits there for an operator.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from app.domain.cluster import ClusterView, IncidentPhase
from app.domain.host_shutdown import ShutdownPolicy
from app.domain.migration import TRIES_MAX
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement import NoRoom, Placement, choose_node
from app.domain.policy import QuorumLoss
from app.domain.replace import replace
from app.domain.vm import PowerSeen, Vm


@dataclass(frozen=True, slots=True)
class Begin:
    """One migration to begin. `generation` is the VM's present one, `passenger` that of its new copy."""

    vm_id: int
    generation: int
    passenger: int
    to: str
    why: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """One migration that has become pointless."""

    vm_id: int
    passenger: int
    why: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """One VM that should move and does not, with the reason. `stuck`: an operator must do something."""

    vm_id: int
    reason: str
    stuck: bool = False


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What to begin and what to cancel now; `blocked` is for those who ask why."""

    begin: tuple[Begin, ...] = ()
    cancel: tuple[Cancel, ...] = ()
    blocked: tuple[Blocked, ...] = ()

    @property
    def empty(self) -> bool:
        """True when nothing is to be written."""
        return not (self.begin or self.cancel)


def plan_moves(view: ClusterView, resting: Mapping[int, str] | None = None, wishes: tuple[Begin, ...] = ()) -> MovePlan:
    """`resting`: VMs that wait a while after a failed try, with the words for it. `wishes`: moves for an even load,
    taken last."""
    cancel = tuple(c for v in view.vms if (c := _pointless(view, v)))
    hold = _why_none_now(view)
    begin: list[Begin] = []
    blocked: list[Blocked] = []
    traffic = _Traffic(view)
    for vm, why in _candidates(view):
        reason, stuck = _why_not(view, vm)
        reason = reason or (resting or {}).get(vm.id, "") or hold or traffic.full(vm.node or "")
        choice = None if reason else _target(traffic, vm)
        if isinstance(choice, Placement):
            begin.append(Begin(vm.id, vm.generation, vm.next_generation, choice.node, f"{why}: {choice.why}"))
            traffic.add(vm, choice.node)
            continue
        blocked.append(Blocked(vm.id, reason or (choice.reason if choice else ""), stuck or choice is not None))
    for wish in wishes:
        vm = next(v for v in view.vms if v.id == wish.vm_id)
        if not (_why_not(view, vm)[0] or hold or traffic.full(vm.node or "") or traffic.full(wish.to)):
            begin.append(wish)
            traffic.add(vm, wish.to)
    return MovePlan(tuple(begin), cancel, tuple(blocked))


class _Traffic:
    """What is under way, at both ends, and in `view` the memory that is promised for it."""

    def __init__(self, view: ClusterView) -> None:
        self.view = view
        self._total = 0
        self._at: dict[str, int] = {}
        for vm in view.vms:
            if vm.node is not None and vm.migrating_to is not None:
                self._count(vm.node, vm.migrating_to)

    def add(self, vm: Vm, to: str) -> None:
        """One more."""
        self._count(vm.node or "", to)
        vms = tuple(replace(v, migrating_to=to) if v.id == vm.id else v for v in self.view.vms)
        self.view = replace(self.view, vms=vms)

    def full(self, node: str) -> str:
        """Why no migration can begin at this node now; empty when one can."""
        settings = self.view.settings
        if self._total >= settings.migrations_max:
            return f"waits: {self._total} migrations are under way, {settings.migrations_max} are allowed"
        at = self._at.get(node, 0)
        if at >= settings.migrations_per_node_max:
            return f"waits: {node} has {at} migrations, {settings.migrations_per_node_max} are allowed per node"
        return ""

    def _count(self, *nodes: str) -> None:
        self._total += 1
        for node in nodes:
            self._at[node] = self._at.get(node, 0) + 1


def _candidates(view: ClusterView) -> list[tuple[Vm, str]]:
    """Those that should move, in their order: what was asked for, then the drains; important VMs first."""
    emptied = {n.name: why for n in view.nodes if (why := _emptied(n))}
    idle = [v for v in view.vms if v.node is not None and v.wants_to_run and v.migrating_to is None]
    asked = [(v, "an operator asked for it") for v in idle if v.migration.wanted_to is not None]
    drained = [(v, emptied[v.node or ""]) for v in idle if v.node in emptied and v.migration.wanted_to is None]
    return sorted(asked, key=_urgency) + sorted(drained, key=_urgency)


def _emptied(node: Node) -> str:
    """Why the VMs of this node are to move away; empty when they are not. A node that was lost too often and came back
    before it was fenced has its VMs still, and the next loss would hurt them.
    """
    if node.evacuating or node.leaving == ShutdownPolicy.MIGRATE:
        return f"{node.name} is drained"
    return f"{node.name} is quarantined" if node.quarantined_until is not None else ""


def _urgency(candidate: tuple[Vm, str]) -> tuple[int, int, int]:
    vm, _ = candidate
    return -vm.priority, -vm.memory_mib, vm.id


def _why_none_now(view: ClusterView) -> str:
    if not view.settings.armed:
        return "waits: automation is disarmed"
    if any(i.phase in (IncidentPhase.FENCING, IncidentPhase.PLANNING) for i in view.incidents):
        return "waits: a node is lost, its recovery comes first"
    if any(v.incident_id is not None and v.node is not None and v.wants_to_run and not v.verified for v in view.vms):
        return "waits: VMs of a lost node are being started"
    return ""


def _why_not(view: ClusterView, vm: Vm) -> tuple[str, bool]:
    """Why this VM cannot leave its node now, and whether an operator must do something about it."""
    node = view.node(vm.node or "")
    if node is None or node.state is not NodeState.ONLINE:
        return "its node is lost: a recovery moves it, not a migration", False
    if vm.migration.tries >= TRIES_MAX:
        told = f"stuck: {vm.migration.tries} tries failed, the last because: {vm.migration.error}. "
        return told + "Repair that and drain again, or move it by `holdfast vm migrate`, or stop the VM", True
    if vm.local or vm.ha.on_quorum_loss is QuorumLoss.KEEP:
        return "its volumes are on this node alone: stop it, or let it stay", True
    if not (vm.seen_current and vm.observed.power is PowerSeen.RUNNING):
        return f"waits until it runs (it is {vm.observed.power.value if vm.seen_current else 'being started'})", False
    return "", False


def _target(traffic: _Traffic, vm: Vm) -> Placement | NoRoom | None:
    """Where to; None where only the caps on the targets are in the way."""
    named = vm.migration.wanted_to
    able = {
        n.name for n in traffic.view.nodes if n.name in (named or n.name,) and n.name != vm.node and not n.evacuating
    }
    choice = _choose(traffic.view, vm, frozenset(n for n in able if not traffic.full(n)))
    if isinstance(choice, NoRoom) and isinstance(whole := _choose(traffic.view, vm, frozenset(able)), NoRoom):
        return whole
    return choice if isinstance(choice, Placement) else None


def _choose(view: ClusterView, vm: Vm, nodes: frozenset[str]) -> Placement | NoRoom:
    """The ordinary choice among these; that it failed to start somewhere says nothing about a copy that runs."""
    return choose_node(view, replace(vm, failed_nodes=()), among=nodes)


def why_not_there(view: ClusterView, vm: Vm, to: str) -> str:
    """Why that node cannot take the VM by a migration; empty when it can."""
    node = view.node(to)
    if node is None:
        return f"there is no node {to!r}"
    if to == vm.node:
        return "it is there already"
    if node.evacuating:
        return f"{to} is being drained itself"
    choice = _choose(view, vm, frozenset({to}))
    return choice.reason if isinstance(choice, NoRoom) else ""


def _pointless(view: ClusterView, vm: Vm) -> Cancel | None:
    if vm.migrating_to is None or vm.migration.cancel:
        return None
    target = view.node(vm.migrating_to)
    if target is None or target.state is not NodeState.ONLINE:
        return Cancel(vm.id, vm.migration.generation, f"{vm.migrating_to} is lost")
    if target.role is NodeRole.WITNESS or target.evacuating:
        return Cancel(vm.id, vm.migration.generation, f"{vm.migrating_to} is being drained itself")
    if target.quarantined_until is not None:
        return Cancel(vm.id, vm.migration.generation, f"{vm.migrating_to} is quarantined")
    return None
