"""The storage fence: a node that has lost its volumes can write to none of them, whether it runs or not.

It is a proof for a node as a whole, and only where every pool that holds a volume of one of the node's VMs offers it
and was read as cut. A proof for single VMs would let some go while the others wait, but then a node would be half dead:
its row, its return and every rule that says "fenced" would need a second answer. Pools are few, a VM waits for
the slowest of them.

What is asked for is the level: the pools of now. So a VM that came to the node meanwhile is covered or the proof is
not confirmed. VMs whose volumes are on the node alone are moved by no plan, and need no fence.
"""

from app.domain.cluster import ClusterView

#: the fencing method of all pools together
METHOD = "storage"


def pools_of(view: ClusterView, node: str) -> frozenset[str]:
    """The pools with a volume that a VM may write to from that node, wanted on or off, or on its way there."""
    return frozenset(v.pool for v in view.vms if not v.local and node in (v.node, v.migrating_to))


def pools_to_cut(view: ClusterView, node: str, fences: frozenset[str]) -> tuple[str, ...]:
    """The pools of that node, by name, if each of them can cut it off; else none, for then it would prove nothing."""
    pools = pools_of(view, node)
    return tuple(sorted(pools)) if pools <= fences else ()
