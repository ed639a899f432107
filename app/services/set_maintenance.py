"""Take a node out of placement, or back in. What runs there runs on."""

from dataclasses import replace
from datetime import datetime

from app.domain.node import Node
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.find_node import find_node
from app.services.hold_guarantee import hold_guarantee_without
from app.services.load_view import load_view


def set_maintenance(tx: Transaction, name: str, maintenance: bool, now: datetime, *, force: bool = False) -> Node:
    """The node as it is now. Said twice, it is written once. Errors: NotFound; without `force` GuaranteeBroken."""
    old = find_node(tx, name)
    if old.maintenance is maintenance:
        return old
    if maintenance and not force:
        hold_guarantee_without(tx, load_view(tx, now), name)
        old = find_node(tx, name)
    # `placements` grows so that a placement that chooses this node right now collides and looks again
    node = replace(old, maintenance=maintenance, placements=old.placements + 1)
    tx.nodes.save(node)
    word = "takes no new VMs: it is in maintenance" if maintenance else "takes VMs again"
    tx.events.add(ClusterEvent(0, now, "node.maintenance", f"{name} {word}", node=name))
    return node
