"""An operator wants a migration ended. The VM's node aborts it, makes sure that the VM runs there, and writes so."""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import NotFound
from app.domain.records import ActionStatus
from app.domain.vm import Vm, no_longer_moving
from app.ports.store import Transaction
from app.services.finish_migration import COMMAND
from app.services.refusals import WrongState
from app.services.report_observed import end_action


def cancel_migration(tx: Transaction, vm_id: int, now: datetime) -> Vm:
    """NotFound; WrongState when none is under way or asked for. One that was not begun yet is forgotten at once."""
    vm = tx.vms.get(vm_id)
    if vm is None:
        raise NotFound(f"there is no VM {vm_id}")
    if vm.migrating_to is not None:
        cancelled = replace(vm, migration=replace(vm.migration, cancel="an operator cancelled it"))
        tx.vms.save(cancelled)
        return cancelled
    if vm.migration.wanted_to is None:
        raise WrongState(f"{vm.name} does not migrate")
    forgotten = no_longer_moving(vm)
    tx.vms.save(forgotten)
    for action in tx.actions.where(vm_id=vm.id, status=ActionStatus.RUNNING, command=COMMAND):
        end_action(tx, action, now, "cancelled", "an operator cancelled it")
    return forgotten
