"""A node by its name."""

from app.domain.errors import NotFound
from app.domain.node import Node
from app.ports.store import Transaction


def find_node(tx: Transaction, name: str) -> Node:
    """NotFound if there is none of that name."""
    rows = tx.nodes.where(name=name)
    if not rows:
        raise NotFound(f"there is no node {name!r}")
    return rows[0]
