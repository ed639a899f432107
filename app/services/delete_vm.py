"""A customer deletes a VM. Its row stays until its node's agent has removed the last volume."""

from dataclasses import replace
from datetime import datetime

from app.domain.records import ActionStatus, ApiAction
from app.domain.vm import Command, Desired, StopMode
from app.ports.store import Transaction
from app.services.begin_action import begin_action, overtake_actions
from app.services.check_command import check_command
from app.services.find_vm import find_vm


def delete_vm(tx: Transaction, project_id: int, vm_id: int, now: datetime) -> ApiAction:
    """NotFound, Locked. A VM that is being deleted already answers with the action that does it."""
    vm = find_vm(tx, project_id, vm_id)
    if vm.desired is Desired.DELETED:
        at_work = tx.actions.where(vm_id=vm.id, command="delete_server", status=ActionStatus.RUNNING)
        if at_work:
            return at_work[0]
    check_command(vm, Command.DELETE)
    tx.vms.save(replace(vm, desired=Desired.DELETED, stop_mode=StopMode.HARD))
    overtake_actions(tx, vm, ("create_server", "start_server", "reset_server", "reboot_server"), now)
    return begin_action(tx, vm, "delete_server", now)
