"""The coordinator begins live migrations, and cancels those that have become pointless."""

from dataclasses import replace
from datetime import datetime

from app.domain.migration import Migration
from app.domain.moves import Begin, Cancel, MovePlan
from app.domain.node import NodeState
from app.domain.records import ClusterEvent
from app.domain.vm import no_longer_moving
from app.ports.store import Transaction
from app.services.epoch import hold_armed_epoch
from app.services.incidents import node_named


def commit_moves(tx: Transaction, epoch: int, plan: MovePlan, now: datetime) -> None:
    """What has changed under the plan is left out: the next view tells what it is now."""
    hold_armed_epoch(tx, epoch)
    for begin in plan.begin:
        _begin(tx, begin, now)
    for cancel in plan.cancel:
        _cancel(tx, cancel)


def _begin(tx: Transaction, begin: Begin, now: datetime) -> None:
    vm = tx.vms.get(begin.vm_id)
    if vm is None or vm.generation != begin.generation or vm.next_generation != begin.passenger:
        return
    if vm.node is None or vm.migrating_to is not None or not vm.wants_to_run:
        return
    source, target = node_named(tx, vm.node), node_named(tx, begin.to)
    if source.state is not NodeState.ONLINE or target.state is not NodeState.ONLINE or target.leaving:
        return
    # `placements` grows as with every placement: the target's memory is promised from here on
    tx.nodes.save(replace(target, placements=target.placements + 1))
    old = vm.migration
    known = Migration(begin.passenger, old.wanted_to, begin.why, now, tries=old.tries, error=old.error)
    tx.vms.save(replace(no_longer_moving(vm), migrating_to=begin.to, migration=known))
    text = f"{vm.name} migrates from {vm.node} to {begin.to}: {begin.why}"
    tx.events.add(ClusterEvent(0, now, "vm.migrating", text, node=vm.node, vm_id=vm.id))


def _cancel(tx: Transaction, cancel: Cancel) -> None:
    vm = tx.vms.get(cancel.vm_id)
    if vm is not None and vm.migrating_to is not None and vm.migration.generation == cancel.passenger:
        tx.vms.save(replace(vm, migration=replace(vm.migration, cancel=cancel.why)))
