"""What if: some nodes were lost, VMs or nodes were added? And how many more VMs of a plan fit?

The answers are those of placement and capacity themselves, on a view in which it has happened already.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from app.domain.capacity import ADMISSION_WORK_MAX, WORK_MAX, broken_promise, prove
from app.domain.capacity_courses import NODES_MAX, Courses, OutOfWork, Stranded, carried_out, settled
from app.domain.cluster import ClusterView
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement_ledger import Ledger
from app.domain.placement_pass import Owed, first_pass
from app.domain.records import Plan
from app.domain.recovery import plan_recovery
from app.domain.vm import Vm

#: more VMs of one plan than this are not counted
FITS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class NewNode:
    """A node that could be bought. Memory in MiB."""

    memory_mib: int
    cores: int
    rack: str = ""
    role: NodeRole = NodeRole.COMPUTE


@dataclass(frozen=True, slots=True)
class Loss:
    """What the loss of these nodes comes to, in the worst order. `stranded`: all VMs without a node, with reasons.

    `survived`: no guaranteed VM is among them. `then_survivable`: so many failures more leave room for the guaranteed
    ones. Not `exact`: only the loss of all at once was looked at, there are too many orders.
    """

    nodes: tuple[str, ...]
    survived: bool
    exact: bool
    stranded: tuple[Stranded, ...]
    then_survivable: int


@dataclass(frozen=True, slots=True)
class Stock:
    """How many more VMs of a plan fit: at all, and such that the guarantee still holds (at least so many)."""

    plan: str
    fits: int
    fits_with_guarantee: int
    guarantee: int
    why_not_more: str


def with_nodes(view: ClusterView, nodes: Sequence[NewNode]) -> ClusterView:
    """The cluster with these nodes, empty and online. They are called new-1, new-2, ..."""
    first = max((n.id for n in view.nodes), default=0) + 1
    new = tuple(
        Node(first + i, f"new-{i + 1}", "", role=n.role, memory_mib=n.memory_mib, cores=n.cores, rack=n.rack)
        for i, n in enumerate(nodes)
    )
    return replace(view, nodes=(*view.nodes, *new))


def with_vms(view: ClusterView, plan: Plan, pool: str, count: int) -> tuple[ClusterView, int]:
    """The cluster with up to so many VMs of the plan, placed as requests for them would be; and how many found room."""
    copies = _copies(view, plan, pool, count)
    placed = first_pass(Ledger(view), [Owed(vm, recovery=False) for vm in copies])
    homes = {vm_id: space.node.name for vm_id, (space, _) in placed.items()}
    new = tuple(replace(vm, node=homes[vm.id], generation=1) for vm in copies if vm.id in homes)
    return replace(view, vms=(*view.vms, *new)), len(new)


def lose(view: ClusterView, names: Sequence[str], *, work_max: int = WORK_MAX) -> Loss:
    """What happens if all these nodes go, at once or one after the other."""
    base = settled(view)
    gone = tuple(sorted(set(names)))
    up = frozenset(n.name for n in base.nodes if n.name in gone and n.state is NodeState.ONLINE)
    courses = Courses(base, work_max)
    after, stranded = courses.at_once(up)
    exact = len(up) <= NODES_MAX
    if exact:
        try:
            bad = courses.stranded(up)
        except OutOfWork:
            exact, bad = False, ()
        if bad and not any(s.guaranteed for s in stranded):
            stranded = (*bad, *stranded)
    survived = not any(s.guaranteed for s in stranded)
    return Loss(gone, survived, exact or not survived, stranded, prove(after, work_max=work_max).by_room)


def stock(view: ClusterView, plan: Plan, pool: str, *, work_max: int = ADMISSION_WORK_MAX // 10) -> Stock:
    """See `Stock`. The search that the guarantee may need is kept small: it may find fewer than there are."""
    view = settled(view)
    full, fits = with_vms(view, plan, pool, FITS_MAX)
    guarantee = view.settings.guarantee
    old = len(view.vms)

    def broken(count: int) -> str:
        return broken_promise(replace(full, vms=full.vms[: old + count]), guarantee, work_max=work_max)

    why = "no node has room for one more" if fits < FITS_MAX else f"more than {FITS_MAX} are not counted"
    low, high = -1, fits
    while low < high:
        middle = (low + high + 1) // 2
        refused = broken(middle)
        if refused:
            high, why = middle - 1, f"the guarantee would be broken: {refused}"
        else:
            low = middle
    return Stock(plan.name, fits, max(low, 0), guarantee, why)


def drained(view: ClusterView, name: str) -> ClusterView:
    """The cluster once this node is closed and its VMs have moved to where a plan puts them."""
    closed = tuple(replace(n, maintenance=True) if n.name == name else n for n in view.nodes)
    return carried_out(view, plan_recovery(replace(view, nodes=closed), name))


def _copies(view: ClusterView, plan: Plan, pool: str, count: int) -> list[Vm]:
    first = max((v.id for v in view.vms), default=0) + 1
    when = view.at or datetime(1970, 1, 1, tzinfo=UTC)
    return [
        Vm(
            first + i, f"{plan.name}-{i + 1}", 0, plan.name, plan.cores, plan.memory_mib, plan.disk_gib, image="",
            pool=pool, created=when,
        )
        for i in range(count)
    ]  # fmt: skip
