"""Moves that make the nodes' loads more even, and only those that are worth a live migration.

Theory. A node's load is the share of its memory (with overcommit) that is promised. A move of a VM from a fuller node
to an emptier one is taken only if the emptier one is not fuller than the other afterwards. Then the sum over all nodes
of memory x load^2 falls with every move: no sequence of moves comes back to where it was, so nothing goes to and fro
and the moves end. The largest load never grows and the smallest never falls, so the spread between them never grows.

Not every such move is worth it: the pair must differ by more than `threshold`, the move must close at least
`gain_min` of that, the imbalance must have lasted for `hold_seconds`, and a VM that was moved rests for a while.
Nothing is moved while a recovery is open, a node is lost, or a rolling run is under way; and a node that is being
emptied (maintenance, evacuation, quarantine) neither gives nor takes: the drain has its own plan. A move that would
break the guarantee is not made.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.domain.capacity import broken_promise
from app.domain.cluster import ClusterView
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement import Load, loads_of, why_not_move
from app.domain.placement_ledger import Ledger
from app.domain.placement_rules import closed
from app.domain.vm import Vm


@dataclass(frozen=True, slots=True)
class Move:
    """One live migration that is worth making, and why."""

    vm_id: int
    source: str
    target: str
    why: str


@dataclass(frozen=True, slots=True)
class RebalanceSettings:
    """Shares are of a node's memory, 0..1. `hold_seconds`: so long must the imbalance last; a moved VM rests
    `rest_seconds`."""

    threshold: float = 0.15
    gain_min: float = 0.05
    hold_seconds: float = 300.0
    rest_seconds: float = 3600.0

    def __post_init__(self) -> None:
        if not (0 < self.threshold <= 1 and 0 < self.gain_min <= 1):
            raise ValueError("threshold and gain_min are shares: more than 0, at most 1")
        if self.hold_seconds < 0 or self.rest_seconds < 0:
            raise ValueError("hold_seconds and rest_seconds must not be negative")


@dataclass(frozen=True, slots=True)
class RebalanceMemory:
    """What the caller keeps from one look to the next; times by its own monotonic clock, in seconds."""

    uneven_since: float | None = None
    moved_at: Mapping[int, float] = field(default_factory=dict)

    def moved(self, vm_id: int, now: float) -> "RebalanceMemory":
        """After a migration of this VM was begun."""
        return replace(self, moved_at={**self.moved_at, vm_id: now})


def share(load: Load) -> float:
    """How full a node is: 0 empty, 1 all of its memory promised."""
    return load.memory_used_mib / load.memory_total_mib


def imbalance(view: ClusterView) -> float:
    """How far the fullest and the emptiest node that take part are apart, as a share of memory, once all migrations
    that are under way have ended."""
    shares = [share(load) for load in _loads_to_be(view).values() if _takes_part(load.node, view.at)]
    return max(shares) - min(shares) if shares else 0.0


def why_not_now(view: ClusterView) -> str:
    """What forbids all moves at the moment; empty when nothing does."""
    if not view.settings.rebalance:
        return "rebalancing is switched off"
    if not view.settings.armed:
        return "automation is disarmed"
    if view.rolling is not None:
        return f"a {view.rolling.title} is under way"
    if view.incidents:
        return "a recovery is open"
    away = [n.name for n in view.nodes if n.state is not NodeState.ONLINE]
    return f"not all nodes are online: {', '.join(away)}" if away else ""


def look(
    view: ClusterView, now: float, memory: RebalanceMemory, settings: RebalanceSettings
) -> tuple[RebalanceMemory, tuple[Move, ...]]:
    """One look: how long the cluster has been uneven, and the moves if that is long enough."""
    uneven = not why_not_now(view) and imbalance(view) > settings.threshold
    since = memory.uneven_since if memory.uneven_since is not None else now
    resting = {v: at for v, at in memory.moved_at.items() if now - at < settings.rest_seconds}
    memory = RebalanceMemory(since if uneven else None, resting)
    if not uneven or now - since < settings.hold_seconds:
        return memory, ()
    return memory, moves_worth_making(view, settings, resting=frozenset(resting))


def moves_worth_making(
    view: ClusterView, settings: RebalanceSettings | None = None, *, resting: frozenset[int] = frozenset()
) -> tuple[Move, ...]:
    """The moves to begin now, best first, within the caps on migrations; empty when none is worth it.

    Each is judged on the loads that those before it leave behind. `resting`: VMs that were moved a short while ago.
    """
    settings = settings or RebalanceSettings()
    if why_not_now(view):
        return ()
    moves: list[Move] = []
    promised = not broken_promise(view, view.settings.guarantee)
    while _free_slots(view) > 0:
        move = _best_move(view, settings, resting)
        if move is None or (promised and not _keeps_promise(view, move)):
            break
        moves.append(move)
        view = _with_move(view, move)
    return tuple(moves)


def _takes_part(node: Node, at: datetime | None) -> bool:
    """A node that takes no VMs now (maintenance, drain, quarantine) gives none either, and a spare stays empty."""
    return node.role is NodeRole.COMPUTE and node.memory_mib > 0 and not closed(node, at, recovery=False)


def _keeps_promise(view: ClusterView, move: Move) -> bool:
    """With the VM at its new place the guarantee holds; only asked where it holds now."""
    vms = tuple(replace(v, node=move.target, migrating_to=None) if v.id == move.vm_id else v for v in view.vms)
    return not broken_promise(replace(view, vms=vms), view.settings.guarantee)


def _loads_to_be(view: ClusterView) -> dict[str, Load]:
    """What the nodes carry once all migrations that are under way have ended."""
    arrived = tuple(replace(v, node=v.migrating_to or v.node, migrating_to=None) for v in view.vms)
    return loads_of(replace(view, vms=arrived))


def _free_slots(view: ClusterView) -> int:
    return view.settings.migrations_max - sum(v.migrating_to is not None for v in view.vms)


def _busy(view: ClusterView) -> frozenset[str]:
    """Nodes that have as many migrations under way, out and in, as one may have."""
    count: dict[str, int] = {}
    for vm in view.vms:
        if vm.migrating_to is not None:
            for name in (vm.node or "", vm.migrating_to):
                count[name] = count.get(name, 0) + 1
    return frozenset(n for n, c in count.items() if c >= view.settings.migrations_per_node_max)


def _best_move(view: ClusterView, settings: RebalanceSettings, resting: frozenset[int]) -> Move | None:
    """From the fullest nodes down, to the emptiest up: the move that brings one pair closest together."""
    busy, ledger = _busy(view), Ledger(view)
    able = [x for x in _loads_to_be(view).values() if _takes_part(x.node, view.at) and x.node.name not in busy]
    full_first = sorted(able, key=lambda x: (-share(x), x.node.name))
    movable: dict[str, list[Vm]] = {}
    for vm in view.vms:
        if vm.node is not None and _may_move(vm) and vm.id not in resting:
            movable.setdefault(vm.node, []).append(vm)
    for source in full_first:
        for target in reversed(full_first):
            if share(source) - share(target) <= settings.threshold:
                break
            for vm in _worth(source, target, movable.get(source.node.name, []), settings):
                if not why_not_move(ledger, vm, target.node.name):
                    return _told(vm, source, target)
    return None


def _may_move(vm: Vm) -> bool:
    """Only what runs well and is not on its way: a VM in trouble needs its node's attention, not another node."""
    return vm.wants_to_run and vm.verified and vm.migrating_to is None


def _gap_after(source: Load, target: Load, vm: Vm) -> float:
    left = (source.memory_used_mib - vm.memory_mib) / source.memory_total_mib
    return left - (target.memory_used_mib + vm.memory_mib) / target.memory_total_mib


def _worth(source: Load, target: Load, vms: list[Vm], settings: RebalanceSettings) -> list[Vm]:
    """The VMs whose move brings the two closer by enough without turning them round, the best first."""
    gap = share(source) - share(target)
    judged = [(after, vm) for vm in vms if 0 <= (after := _gap_after(source, target, vm)) <= gap - settings.gain_min]
    return [vm for _, vm in sorted(judged, key=lambda x: (x[0], x[1].id))]


def _told(vm: Vm, source: Load, target: Load) -> Move:
    after = _gap_after(source, target, vm)
    why = (
        f"{source.node.name} is {share(source):.0%} full, {target.node.name} {share(target):.0%}; with {vm.name} "
        f"({vm.memory_mib} MiB) moved they differ by {after:.0%} instead of {share(source) - share(target):.0%}"
    )
    return Move(vm.id, source.node.name, target.node.name, why)


def _with_move(view: ClusterView, move: Move) -> ClusterView:
    """The view in which the move is under way, counted at both ends."""
    vms = tuple(replace(v, migrating_to=move.target) if v.id == move.vm_id else v for v in view.vms)
    return replace(view, vms=vms)
