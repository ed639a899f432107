"""An orderly shutdown of a node: what becomes of its VMs, and why nobody is fenced for it.

* `migrate`: they move away while they run, for a bounded time; what is left then is restarted elsewhere.
* `restart-elsewhere`: they are stopped cleanly, and as each is off its node gives it up: it is placed like any VM that
  waits.
* `freeze`: they are stopped with the node and started there again when it is back. Until `Node.frozen_until` no
  recovery begins for it; after that it is lost like any other.

`Node.leaving` says which of them is under way. A node that leaves takes no VMs. When it is gone it is not fenced as
long as it is excused: nothing that should run is its any more, or it is frozen and still has time. That is safe
without a proof, because nothing is started elsewhere without one: what it gave up it had attested to be off, and what
is frozen stays its own.

A new boot of the node ends it: its agent reports another boot id, and the node takes VMs again.
"""

from enum import StrEnum

from app.domain.cluster import ClusterView
from app.domain.node import Node


class ShutdownPolicy(StrEnum):
    """What an orderly shutdown of the host does with its VMs."""

    MIGRATE = "migrate"
    RESTART_ELSEWHERE = "restart-elsewhere"
    FREEZE = "freeze"


def stops_vms(node: Node | None) -> bool:
    """True when the VMs of this node are to be stopped because it is being shut down."""
    return node is not None and node.leaving in (ShutdownPolicy.RESTART_ELSEWHERE, ShutdownPolicy.FREEZE)


def excused(view: ClusterView, node: Node) -> bool:
    """True while the absence of this node is no loss."""
    if not node.leaving:
        return False
    if node.leaving == ShutdownPolicy.FREEZE and node.frozen_until is not None:
        return view.at is not None and view.at < node.frozen_until
    return not any(v.node == node.name and v.wants_to_run for v in view.vms)
