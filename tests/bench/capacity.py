"""The capacity proof on 50 nodes with 2,000 VMs, at several fills, and what a guarantee costs a request."""

from random import Random
from time import perf_counter

from app.domain.capacity import broken_promise, prove
from app.domain.cluster import ClusterView
from app.domain.node import Node
from app.domain.records import Plan
from app.domain.vm import Vm
from app.domain.what_if import stock
from tests.domain.make import WHEN

#: shares of the memory that are promised; between the last two lies what two failures leave room for (48 of 50)
FILLS = (0.60, 0.80, 0.88, 0.90, 0.92, 0.94, 0.97)
SIZES_GIB = (1, 1, 2, 2, 4, 4, 8, 16)
LIMITS = {f"prove_k2_50_nodes_2000_vms_{fill:.0%}_full_s".replace("%", "pct"): 5.0 for fill in FILLS}
RATIOS = {"search_to_bound": (
    "prove_k2_50_nodes_2000_vms_92pct_full_s", "prove_k2_50_nodes_2000_vms_60pct_full_s"
)}  # fmt: skip


def cluster(fill: float, *, nodes: int = 50, vms: int = 2000, seed: int = 1) -> ClusterView:
    """Even loads of mixed sizes, `fill` of the memory promised."""
    random = Random(seed)
    sizes = sorted((random.choice(SIZES_GIB) for _ in range(vms)), reverse=True)
    each = int(sum(sizes) * 1024 / fill / nodes)
    used = {f"n{i:02}": 0 for i in range(1, nodes + 1)}
    rows = []
    for i, size in enumerate(sizes, start=1):
        home = min(used, key=lambda n: (used[n], n))
        used[home] += size
        rows.append(
            Vm(
                i,
                f"vm{i}",
                1,
                "plan",
                max(1, size // 2),
                size * 1024,
                10,
                "image",
                "pool",
                WHEN,
                node=home,
                generation=1,
            )
        )
    hosts = tuple(Node(i, n, f"10.0.0.{i}", memory_mib=each, cores=64) for i, n in enumerate(used, start=1))
    return ClusterView(hosts, tuple(rows), epoch=1)


def run() -> dict[str, float]:
    """Seconds of the proofs, milliseconds of what a request waits for, failures that were proven survivable."""
    figures: dict[str, float] = {}
    for fill in FILLS:
        view, name = cluster(fill), f"50_nodes_2000_vms_{fill:.0%}_full".replace("%", "pct")
        begun = perf_counter()
        found = prove(view, failures_max=2)
        figures[f"prove_k2_{name}_s"] = perf_counter() - begun
        figures[f"proven_{name}_failures"] = found.by_room
        figures[f"known_exactly_{name}_yes"] = float(found.exact)
    view = cluster(0.80)
    begun = perf_counter()
    assert not broken_promise(view, 2)
    figures["admission_k2_50_nodes_2000_vms_ms"] = (perf_counter() - begun) * 1000
    begun = perf_counter()
    stock(view, Plan(1, "small", 1, 2048, 10), "pool")
    figures["stock_of_one_plan_50_nodes_2000_vms_ms"] = (perf_counter() - begun) * 1000
    return figures
