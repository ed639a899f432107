"""The last volume of a deleted VM is gone: its row goes too."""

from datetime import datetime

from app.domain.records import ActionStatus
from app.domain.vm import Desired
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.report_observed import end_action


def remove_vm(tx: Transaction, vm_id: int, node: str, generation: int, now: datetime) -> None:
    """Remove the row, if it is still to be deleted and still this node's to remove."""
    vm = tx.vms.get(vm_id)
    if vm is None or vm.desired is not Desired.DELETED or vm.node != node or vm.generation != generation:
        return
    tx.vms.remove(vm_id)
    for action in tx.actions.where(vm_id=vm_id, status=ActionStatus.RUNNING):
        if action.command == "delete_server":
            end_action(tx, action, now)
        else:
            end_action(tx, action, now, "conflict", "the server was deleted")
    emit_event(tx, "vm.deleted", {"vm": vm.id, "name": vm.name}, now, vm.project_id)
