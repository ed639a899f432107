"""Recoveries that leave little room: one of ten nodes is lost, and all are 86 to 90 % full of VMs of mixed sizes.

Each comes with the least memory that any plan must leave without a node, as CP-SAT proves it, and with what the plain
reference algorithm leaves.
"""

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from ortools.sat.python import cp_model

from app.domain.cluster import ClusterView
from app.domain.node import Node, NodeState
from app.domain.vm import Vm
from tests.domain.make import WHEN

SIZES_GIB = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
NODE_GIB = 256
FAILED = "n01"


def hard_recovery(seed: int, *, nodes: int = 10, node_gib: int = NODE_GIB) -> ClusterView:
    """The view in which `FAILED` was just lost."""
    random = Random(seed)
    rows: list[Node] = []
    vms: list[Vm] = []
    for i in range(1, nodes + 1):
        name = f"n{i:02}"
        state = NodeState.LOST if name == FAILED else NodeState.ONLINE
        rows.append(Node(i, name, f"10.0.0.{i}", state=state, memory_mib=node_gib * 1024, cores=256))
        for size in _filled(random, node_gib):
            vms.append(a_vm(len(vms) + 1, name, size * 1024))
    return ClusterView(tuple(rows), tuple(vms), epoch=1)


def hard_recoveries(seeds: Iterable[int]) -> Iterator[ClusterView]:
    """Those in which the reference algorithm leaves more out than what no room could hold: there packing matters."""
    for seed in seeds:
        view = hard_recovery(seed, node_gib=Random(seed).choice((128, 192, 256, 512)))
        largest = max(rooms_of(view))
        hopeless = sum(size for size in sizes_owed(view) if size > largest)
        if stranded_by_reference_mib(view) > hopeless:
            yield view


def a_vm(vm_id: int, node: str | None, memory_mib: int, **other: object) -> Vm:
    """A VM of one core that runs there."""
    facts = {"cores": 1, "disk_gib": 1, "image": "image", "pool": "pool", "created": WHEN, "generation": 1, **other}
    return Vm(vm_id, f"vm{vm_id}", 1, "plan", memory_mib=memory_mib, node=node, **facts)  # type: ignore[arg-type]


def _filled(random: Random, node_gib: int) -> list[int]:
    """Sizes of the VMs of one node that is 86 to 90 % full."""
    sizes: list[int] = []
    while sum(sizes) < 0.86 * node_gib:
        size = random.choice(SIZES_GIB)
        if sum(sizes) + size <= 0.90 * node_gib:
            sizes.append(size)
    return sizes


def rooms_of(view: ClusterView) -> list[int]:
    """Memory in MiB that each node that is left has free."""
    return [
        n.memory_mib - sum(v.memory_mib for v in view.vms if v.node == n.name) for n in view.nodes if n.name != FAILED
    ]


def sizes_owed(view: ClusterView) -> list[int]:
    """Memory in MiB of each VM of the lost node."""
    return [v.memory_mib for v in view.vms if v.node == FAILED]


def least_stranded_mib(view: ClusterView) -> int:
    """The optimum, proven."""
    sizes, rooms = sizes_owed(view), rooms_of(view)
    model = cp_model.CpModel()
    on = {(i, r): model.new_bool_var("") for i in range(len(sizes)) for r in range(len(rooms))}
    for i in range(len(sizes)):
        model.add_at_most_one(on[i, r] for r in range(len(rooms)))
    for r, room in enumerate(rooms):
        model.add(sum(size * on[i, r] for i, size in enumerate(sizes)) <= room)
    model.maximize(sum(size * on[i, r] for i, size in enumerate(sizes) for r in range(len(rooms))))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = 60
    if solver.solve(model) != cp_model.OPTIMAL:
        raise AssertionError("CP-SAT did not prove an optimum")
    return sum(sizes) - round(solver.objective_value)


def stranded_by_reference_mib(view: ClusterView) -> int:
    """What the plain reference algorithm leaves: VM after VM by age, each to the first that has room by VMs."""
    names = [n.name for n in view.nodes if n.name != FAILED]
    rooms = dict(zip(names, rooms_of(view), strict=True))
    counts = {name: sum(v.node == name for v in view.vms) for name in names}
    return sum(size for size in sizes_owed(view) if not _taken(size, rooms, counts))


def _taken(size: int, rooms: dict[str, int], counts: dict[str, int]) -> bool:
    for name in sorted(rooms, key=lambda n: (counts[n], n)):
        if rooms[name] >= size:
            rooms[name] -= size
            counts[name] += 1
            return True
    return False


def total_mib(vms: Sequence[Vm]) -> int:
    """Their memory."""
    return sum(v.memory_mib for v in vms)
