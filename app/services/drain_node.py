"""Empty a node for a maintenance: no new VMs come, and those that run there migrate away, as the caps allow."""

from dataclasses import replace
from datetime import datetime

from app.domain.node import Node, NodeRole
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.find_node import find_node
from app.services.hold_guarantee import hold_guarantee_without
from app.services.load_view import load_view
from app.services.refusals import WrongState


def drain_node(tx: Transaction, name: str, now: datetime, *, force: bool = False) -> Node:
    """The node as it is now. NotFound; WrongState for a witness; without `force` GuaranteeBroken if the cluster without
    this node would not survive what was promised. Said again, moves that were stuck are tried anew.
    """
    old = find_node(tx, name)
    if old.role is NodeRole.WITNESS:
        raise WrongState(f"{name} is a witness: it hosts no VMs, there is nothing to drain")
    if not (old.maintenance or force):
        hold_guarantee_without(tx, load_view(tx, now), name)
        old = find_node(tx, name)
    for vm in tx.vms.where(node=name):
        if vm.migration.tries:
            tx.vms.save(replace(vm, migration=replace(vm.migration, tries=0)))
    if old.evacuating and old.maintenance:
        return old
    node = replace(old, maintenance=True, evacuating=True, placements=old.placements + 1)
    tx.nodes.save(node)
    tx.events.add(ClusterEvent(0, now, "node.drain", f"{name} is drained: its VMs migrate away", node=name))
    return node
