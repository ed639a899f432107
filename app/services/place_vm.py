"""Choose a node for a VM that a request wants to run, and promise the node's memory to it."""

from collections.abc import Mapping
from dataclasses import replace

from app.domain.cluster import ClusterView
from app.domain.errors import NoCapacity
from app.domain.node import Node
from app.domain.placement import Load, NoRoom, Placement, choose_node, loads_of
from app.domain.vm import Vm
from app.ports.store import Transaction
from app.services.hold_guarantee import hold_guarantee_with
from app.services.load_view import load_view


def current_loads(tx: Transaction) -> Mapping[str, Load]:
    """What every node carries, by name."""
    return loads_of(load_view(tx))


def place_vm(tx: Transaction, view: ClusterView, vm: Vm) -> Placement:
    """The node for it, its row touched. NoCapacity says for each node why not; GuaranteeBroken is one of its kind."""
    choice = choose_node(view, vm)
    if isinstance(choice, NoRoom):
        raise NoCapacity(choice.reason)
    hold_guarantee_with(tx, view, vm, choice.node)
    node = view.node(choice.node)
    assert node is not None
    promise_memory(tx, node)
    return choice


def promise_memory(tx: Transaction, node: Node) -> None:
    """Touch the node's row: of two requests that fill it at once, on two members of the database, one goes again."""
    tx.nodes.save(replace(node, placements=node.placements + 1))


def why_there(vm_name: str, choice: Placement) -> str:
    """One sentence for the operator: why here, why not there."""
    others = "; ".join(f"{node}: {why}" for node, why in choice.others)
    return f"{vm_name} goes to {choice.node}: {choice.why}" + (f" (others: {others})" if others else "")
