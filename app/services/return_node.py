"""End the maintenance of a node: it takes VMs again, and what was still on its way out stays."""

from dataclasses import replace
from datetime import datetime

from app.domain.node import Node
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.find_node import find_node


def return_node(tx: Transaction, name: str, now: datetime) -> Node:
    """The node as it is now; NotFound. Said twice, it is written once. Migrations that an operator asked for go on."""
    old = find_node(tx, name)
    if not (old.evacuating or old.maintenance or old.leaving):
        return old
    for vm in tx.vms.where(node=name):
        if vm.migrating_to is not None and vm.migration.wanted_to is None and not vm.migration.cancel:
            tx.vms.save(replace(vm, migration=replace(vm.migration, cancel="the drain was taken back")))
    node = replace(
        old, maintenance=False, evacuating=False, leaving="", frozen_until=None, reboot_of="", upgrade_to="",
        placements=old.placements + 1,
    )  # fmt: skip
    tx.nodes.save(node)
    tx.events.add(ClusterEvent(0, now, "node.returned", f"{name} takes VMs again", node=name))
    return node
