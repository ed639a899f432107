"""Placement: how close its plans come to the proven optimum, and how long they take."""

from collections.abc import Callable
from functools import cache
from itertools import count, islice
from random import Random
from statistics import median
from time import perf_counter

from app.domain.cluster import ClusterView
from app.domain.node import Node
from app.domain.recovery import plan_recovery, plan_waiting, unplaced_after
from tests.bench.hard_recoveries import (
    FAILED,
    SIZES_GIB,
    a_vm,
    hard_recoveries,
    least_stranded_mib,
    stranded_by_reference_mib,
    total_mib,
)

RECOVERIES = 500
RUNS = 3
LEAST = {"placement_optimal_percent": 99.0}
LIMITS = {
    "placement_recovery_100_nodes_5000_vms_ms": 100.0,
    "placement_all_waiting_100_nodes_5000_vms_ms": 100.0,
    "placement_recovery_1000_nodes_100000_vms_ms": 3000.0,
    "placement_all_waiting_1000_nodes_100000_vms_ms": 3000.0,
}


def cluster(nodes: int, vms: int, *, placed: bool) -> ClusterView:
    """Nodes three quarters full with these VMs; or the same with every VM waiting for its first node."""
    random = Random(1)
    sizes = [random.choice(SIZES_GIB) * 1024 for _ in range(vms)]
    memory_mib = sum(sizes) * 4 // (3 * nodes)
    rows = tuple(Node(i, f"n{i:04}", "", memory_mib=memory_mib, cores=128) for i in range(1, nodes + 1))
    homes = [f"n{i % nodes + 1:04}" if placed else None for i in range(vms)]
    return ClusterView(rows, tuple(a_vm(i + 1, homes[i], size) for i, size in enumerate(sizes)), epoch=1)


def seconds(work: Callable[[], object]) -> float:
    """The median of some runs."""
    times = []
    for _ in range(RUNS):
        begin = perf_counter()
        work()
        times.append(perf_counter() - begin)
    return median(times)


@cache
def quality(recoveries: int = RECOVERIES) -> dict[str, float]:
    """Shares of the recoveries in which no more memory is left without a node than the optimum leaves.

    The same in every run, so it is counted once.
    """
    plan = first = reference = 0
    for view in islice(hard_recoveries(count(1)), recoveries):
        best = least_stranded_mib(view)
        plan += total_mib(unplaced_after(view, frozenset({FAILED}))) <= best
        first += total_mib(unplaced_after(view, frozenset({FAILED}), steps_max=0)) <= best
        reference += stranded_by_reference_mib(view) <= best
    return {
        "placement_optimal_percent": 100 * plan / recoveries,
        "placement_optimal_first_pass_alone_percent": 100 * first / recoveries,
        "placement_optimal_reference_algorithm_percent": 100 * reference / recoveries,
    }


def run() -> dict[str, float]:
    """Named figures, units last."""
    figures = dict(quality())
    for nodes, vms in ((100, 5_000), (1_000, 100_000)):
        size = f"{nodes}_nodes_{vms}_vms"
        running, waiting = cluster(nodes, vms, placed=True), cluster(nodes, vms, placed=False)
        figures[f"placement_recovery_{size}_ms"] = 1000 * seconds(lambda v=running: plan_recovery(v, "n0001"))  # type: ignore[misc]
        figures[f"placement_all_waiting_{size}_ms"] = 1000 * seconds(lambda v=waiting: plan_waiting(v))  # type: ignore[misc]
    return figures
