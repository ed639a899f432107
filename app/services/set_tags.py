"""An operator says what a node is called."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.node import Node
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.find_node import find_node


def set_tags(tx: Transaction, name: str, tags: Sequence[str], now: datetime) -> Node:
    """The node with exactly these tags; NotFound. What runs there runs on: tags count from the next placement on."""
    old = find_node(tx, name)
    wanted = tuple(sorted(set(tags)))
    if old.tags == wanted:
        return old
    node = replace(old, tags=wanted, placements=old.placements + 1)
    tx.nodes.save(node)
    tx.events.add(ClusterEvent(0, now, "node.tags", f"{name} has the tags {', '.join(wanted) or '(none)'}", node=name))
    return node
