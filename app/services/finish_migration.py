"""The node of a migrating VM writes how that goes on and how it ended. The theory is in `app.domain.migration`."""

from dataclasses import replace
from datetime import datetime

from app.domain.migration import MoveEnd
from app.domain.node import NodeState
from app.domain.records import ActionStatus, ApiAction, ClusterEvent
from app.domain.vm import PowerSeen, Vm, no_longer_moving
from app.ports.store import Transaction
from app.services.incidents import node_named
from app.services.report_observed import end_action

#: what an operator's request to migrate is called among the VM's actions
COMMAND = "migrate_server"


def note_migration(tx: Transaction, node: str, vm_id: int, passenger: int, percent: int) -> None:
    """How far it is, in percent; nothing when it is over."""
    vm = _migrating(tx, node, vm_id, passenger)
    if vm is None:
        return
    tx.vms.save(replace(vm, migration=replace(vm.migration, progress=percent)))
    for action in _actions(tx, vm):
        tx.actions.save(replace(action, progress=min(percent, 99)))


def end_migration(
    tx: Transaction, node: str, vm_id: int, passenger: int, how: MoveEnd, error: str, now: datetime
) -> None:
    """`node` attests the end. It counts only for the migration that it speaks of, while the row still has it."""
    vm = _migrating(tx, node, vm_id, passenger)
    if vm is None:
        return
    match how:
        case MoveEnd.FINISHED:
            _hand_over(tx, vm, now)
        case MoveEnd.GONE:
            # A new generation: whatever was begun under the old ones is over.
            tx.vms.save(replace(no_longer_moving(vm), generation=vm.next_generation))
            _told(tx, vm, now, f"{vm.name} stays on {node}: {error}")
            _end_actions(tx, vm, now, error)
        case MoveEnd.CANCELLED:
            tx.vms.save(no_longer_moving(vm, tries=vm.migration.tries, error=vm.migration.error))
            _told(tx, vm, now, f"{vm.name} stays on {node}, its migration was cancelled: {error}")
            _end_actions(tx, vm, now, error)
        case MoveEnd.FAILED:
            _fail(tx, vm, error, now)


def _migrating(tx: Transaction, node: str, vm_id: int, passenger: int) -> Vm | None:
    vm = tx.vms.get(vm_id)
    if vm is None or vm.node != node or vm.migrating_to is None or vm.migration.generation != passenger:
        return None
    return vm


def _hand_over(tx: Transaction, vm: Vm, now: datetime) -> None:
    """The target has it. A target that is lost meanwhile never ran it: then it waits for a node, as after a failure."""
    assert vm.migrating_to is not None
    arrived = no_longer_moving(vm)
    if node_named(tx, vm.migrating_to).state is not NodeState.ONLINE:
        reason = f"{vm.migrating_to} was lost when it had just arrived there"
        tx.vms.save(replace(arrived, node=None, generation=vm.next_generation, unplaced_reason=reason))
        _told(tx, vm, now, f"{vm.name}: {reason}")
        _end_actions(tx, vm, now, reason)
        return
    # Its memory has arrived, its CPUs stand still until the target reads this.
    observed = replace(
        vm.observed, power=PowerSeen.PAUSED, generation=vm.migration.generation, node=vm.migrating_to, error=""
    )
    tx.vms.save(
        replace(arrived, node=vm.migrating_to, generation=vm.migration.generation, failed_nodes=(), observed=observed)
    )
    _told(tx, vm, now, f"{vm.name} has moved from {vm.node} to {vm.migrating_to}: {vm.migration.why}")
    _end_actions(tx, vm, now, "")


def _fail(tx: Transaction, vm: Vm, error: str, now: datetime) -> None:
    """What an operator asked for is tried once; what a drain wants is tried again by the coordinator."""
    tries = vm.migration.tries + 1
    tx.vms.save(no_longer_moving(vm, tries=tries, error=error))
    _told(tx, vm, now, f"{vm.name} stays on {vm.node}, its migration to {vm.migrating_to} failed ({tries}): {error}")
    _end_actions(tx, vm, now, error)


def _told(tx: Transaction, vm: Vm, now: datetime, text: str) -> None:
    tx.events.add(ClusterEvent(0, now, "vm.migrated", text, node=vm.node or "", vm_id=vm.id))


def _actions(tx: Transaction, vm: Vm) -> list[ApiAction]:
    return list(tx.actions.where(vm_id=vm.id, status=ActionStatus.RUNNING, command=COMMAND))


def _end_actions(tx: Transaction, vm: Vm, now: datetime, error: str) -> None:
    for action in _actions(tx, vm):
        end_action(tx, action, now, "migration_failed" if error else "", error)
