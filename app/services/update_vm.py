"""A customer changes a VM's name or labels."""

from dataclasses import replace

from app.domain.errors import Locked
from app.domain.vm import Desired, Vm
from app.ports.store import Transaction
from app.services.check_labels import check_labels
from app.services.create_vm import check_hostname
from app.services.find_vm import find_vm
from app.services.refusals import WrongState


def update_vm(tx: Transaction, project_id: int, vm_id: int, name: str | None, labels: dict[str, str] | None) -> Vm:
    """None leaves as it is. Errors: NotFound, InvalidInput, NameTaken, Locked, WrongState."""
    vm = find_vm(tx, project_id, vm_id)
    if vm.locked:
        raise Locked(f"server {vm.name} is locked: it is suspended, and only the operator can change that")
    if vm.desired is Desired.DELETED:
        raise WrongState(f"server {vm.name} is being deleted")
    if name is not None:
        check_hostname(name)
        vm = replace(vm, name=name)
    if labels is not None:
        check_labels(labels)
        vm = replace(vm, labels=labels)
    tx.vms.save(vm)
    return vm
