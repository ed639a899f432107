"""A node says that it is being shut down, and gives its VMs up one by one. The theory is in `host_shutdown`."""

from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.host_shutdown import ShutdownPolicy
from app.domain.node import Node, NodeState
from app.domain.records import ClusterEvent
from app.domain.vm import PowerSeen, no_longer_moving
from app.ports.store import Transaction
from app.services.find_node import find_node
from app.services.hold_guarantee import note_broken_guarantee


def leave_node(tx: Transaction, name: str, policy: ShutdownPolicy, freeze_seconds: float, now: datetime) -> Node:
    """Say it. NotFound when this node is not in the cluster.

    The host goes down whatever is said here, so a guarantee that does not hold without it is written down, not kept.
    """
    old = find_node(tx, name)
    until = now + timedelta(seconds=freeze_seconds) if policy is ShutdownPolicy.FREEZE else None
    node = replace(old, leaving=policy.value, frozen_until=until, placements=old.placements + 1)
    tx.nodes.save(node)
    if old.leaving != policy.value:
        tx.events.add(ClusterEvent(0, now, "node.leaving", f"{name} is being shut down: {policy.value}", node=name))
        if not old.leaving:
            note_broken_guarantee(tx, f"{name} is being shut down", now, without=name)
    return node


def still_up(tx: Transaction, name: str) -> tuple[str, ...]:
    """The names of the VMs that keep the node from being switched off: not given up, or not seen off yet."""
    node = find_node(tx, name)
    frozen = node.leaving == ShutdownPolicy.FREEZE
    mine = tx.vms.where(node=name)
    off = (PowerSeen.OFF, PowerSeen.FAILED)
    up = [v for v in mine if (v.wants_to_run and not frozen) or not (v.seen_current and v.observed.power in off)]
    return tuple(v.name for v in up if v.wants_to_run or v.seen_current)


def release_vm(tx: Transaction, name: str, vm_id: int, generation: int, now: datetime) -> None:
    """`name` attests that nothing of this VM is there. It waits for a node from here on, as it would without one."""
    vm, node = tx.vms.get(vm_id), find_node(tx, name)
    if vm is None or vm.node != name or vm.generation != generation or vm.migrating_to is not None:
        return
    if node.leaving != ShutdownPolicy.RESTART_ELSEWHERE or node.state is not NodeState.ONLINE:
        return
    reason = f"{name} is being shut down, it waits for another node"
    tx.vms.save(replace(no_longer_moving(vm), node=None, generation=vm.next_generation, unplaced_reason=reason))
    tx.events.add(ClusterEvent(0, now, "vm.released", f"{vm.name}: {reason}", node=name, vm_id=vm.id))
