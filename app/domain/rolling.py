"""In which order nodes can be rebooted or upgraded, one after the other, so that nobody notices.

At every step the partition stays quorate without the node, all of its VMs fit on the others by the very planner of the
drains (`moves`), and where a guarantee was given, so many further failures stay survivable while the node is away. The
VMs stay where a step brought them: the next step is judged on what the ones before leave behind.

Theory of the order. Which node goes first does not matter for the votes, but for the room: the emptiest node costs the
fewest migrations, and when it is back it is empty and takes what the next one has. So the search is greedy: the first
node in order (witnesses, spares, then the emptiest; the coordinator last, for its reboot costs a change of leader) that
can go, again and again. What is left over when none can is refused, each with its reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.capacity import broken_promise
from app.domain.cluster import ClusterView
from app.domain.moves import plan_moves
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement import loads_of
from app.domain.replace import replace
from app.domain.vm import Observed, PowerSeen, Vm

_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Moved:
    """One VM that leaves the node for its reboot."""

    vm_id: int
    name: str
    to: str


@dataclass(frozen=True, slots=True)
class RebootStep:
    """One node, and where its VMs go. `breaks`: what this breaks of the guarantee; only where that was forced."""

    node: str
    moves: tuple[Moved, ...] = ()
    breaks: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """One node that cannot be rebooted without harm, and why."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class RollingPlan:
    """Every node that was asked for is in exactly one of the two."""

    steps: tuple[RebootStep, ...] = ()
    refused: tuple[Refused, ...] = ()


def plan_rolling(view: ClusterView, wanted: Sequence[str] = (), *, force: bool = False, last: str = "") -> RollingPlan:
    """`wanted` empty: all nodes. `last`: the coordinator. `force`: may break the guarantee, never quorum or room."""
    left = _in_order(view, wanted, last)
    base, steps, refused = at_rest(view), [], []
    while left:
        reasons: list[Refused] = []
        for name in left:
            step = step_for(base, name, force=force)
            if isinstance(step, Refused):
                reasons.append(step)
                continue
            steps.append(step)
            base = _after(base, step)
            left.remove(name)
            break
        else:
            refused += reasons
            break
    return RollingPlan(tuple(steps), tuple(refused))


def versions_besides(version: str, nodes: Sequence[Node]) -> tuple[str, ...]:
    """Which versions nodes say that they run, but for that one. A version works together with the one before it and
    with no other, so an upgrade begins only where there is one of them at most.
    """
    return tuple(sorted({n.version for n in nodes} - {version, ""}))


def told(refused: Sequence[Refused]) -> str:
    """All of it in a sentence, each reason once."""
    nodes: dict[str, list[str]] = {}
    for one in refused:
        nodes.setdefault(one.reason, []).append(one.node)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in nodes.items())


def at_rest(view: ClusterView) -> ClusterView:
    """The view once what is under way has ended: migrations have arrived, and what is wanted up is up."""
    settings = replace(view.settings, armed=True, rebalance=False, migrations_max=_MANY, migrations_per_node_max=_MANY)
    return replace(view, vms=tuple(map(_at_rest, view.vms)), incidents=(), settings=settings, rolling=None)


def step_for(base: ClusterView, name: str, *, force: bool = False) -> RebootStep | Refused:
    """Whether this node can be rebooted now. `base` is a view `at_rest`."""
    node = base.node(name)
    why = "is not in the cluster" if node is None else _never(node) or _no_quorum(base, name)
    if node is None or why:
        return Refused(name, why)
    moves, why = _drained(base, name)
    if why:
        return Refused(name, why)
    breaks = broken_without(_moved(base, moves), name)
    if breaks and not force:
        return Refused(name, breaks)
    return RebootStep(name, moves, breaks)


def broken_without(view: ClusterView, name: str) -> str:
    """What of the guarantee does not hold while this node, which has no VM any more, is away; empty when all does."""
    failures = view.settings.guarantee
    if failures < 1:
        return ""
    nodes = tuple(replace(n, state=NodeState.FENCED) if n.name == name else n for n in view.nodes)
    away = replace(view, nodes=nodes)
    votes, quorum = max(0, len(away.online()) - failures), quorum_of(view)
    why = f"{votes} of {len(nodes)} votes would be left, {quorum} are needed for quorum" if votes < quorum else ""
    why = why or broken_promise(away, failures)
    return f"breaks the guarantee of {failures} more while it is away: {why}" if why else ""


def quorum_of(view: ClusterView) -> int:
    """So many votes a partition needs. A vote of a qdevice is not known here."""
    return len(view.nodes) // 2 + 1


def _no_quorum(view: ClusterView, name: str) -> str:
    votes = sum(n.name != name for n in view.online())
    if votes >= quorum_of(view):
        return ""
    return f"without it {votes} of {len(view.nodes)} votes are left, {quorum_of(view)} are needed for quorum"


def _never(node: Node) -> str:
    """What speaks against it whatever the others carry."""
    if node.state is not NodeState.ONLINE:
        return f"is {node.state.value}"
    if node.leaving:
        return "is being shut down"
    if node.maintenance or node.evacuating:
        return "is in maintenance already: return it first, or reboot it by hand"
    return ""


def _drained(base: ClusterView, name: str) -> tuple[tuple[Moved, ...], str]:
    """Where its VMs go; or which of them cannot leave, and why."""
    nodes = tuple(replace(n, maintenance=True, evacuating=True) if n.name == name else n for n in base.nodes)
    plan = plan_moves(replace(base, nodes=nodes))
    theirs = {v.id: v for v in base.vms if v.node == name}
    stuck = [b for b in plan.blocked if b.vm_id in theirs]
    if stuck:
        more = f" (and {len(stuck) - 1} more VMs)" if len(stuck) > 1 else ""
        return (), f"{theirs[stuck[0].vm_id].name} cannot leave it{more}: {stuck[0].reason}"
    return tuple(Moved(b.vm_id, theirs[b.vm_id].name, b.to) for b in plan.begin if b.vm_id in theirs), ""


def _after(base: ClusterView, step: RebootStep) -> ClusterView:
    return _moved(base, step.moves)


def _moved(base: ClusterView, moves: Sequence[Moved]) -> ClusterView:
    to = {m.vm_id: m.to for m in moves}
    return replace(base, vms=tuple(_at(v, to[v.id]) if v.id in to else v for v in base.vms))


def _at_rest(vm: Vm) -> Vm:
    if vm.node is None:
        return vm
    idle = replace(vm, migrating_to=None, migration=replace(vm.migration, wanted_to=None, cancel="", tries=0))
    return _at(idle, vm.migrating_to or vm.node) if vm.wants_to_run else idle


def _at(vm: Vm, node: str) -> Vm:
    """The VM as it runs on that node."""
    return replace(vm, node=node, observed=Observed(PowerSeen.RUNNING, vm.generation, node))


_ROLES = (NodeRole.WITNESS, NodeRole.SPARE, NodeRole.COMPUTE)


def _in_order(view: ClusterView, wanted: Sequence[str], last: str) -> list[str]:
    loads, names = loads_of(view), dict.fromkeys(wanted or sorted(n.name for n in view.nodes))

    def key(name: str) -> tuple[bool, int, int, str]:
        node = view.node(name)
        load = loads.get(name)
        return name == last, _ROLES.index(node.role) if node else 0, load.memory_used_mib if load else 0, name

    return sorted(names, key=key)
