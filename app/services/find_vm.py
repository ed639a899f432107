"""A VM of a project."""

from app.domain.errors import NotFound
from app.domain.vm import Vm
from app.ports.store import Transaction


def find_vm(tx: Transaction, project_id: int, vm_id: int) -> Vm:
    """NotFound when there is none with that id, and in the same words when it is another project's."""
    vm = tx.vms.get(vm_id)
    if vm is None or vm.project_id != project_id:
        raise NotFound(f"server with ID '{vm_id}' not found")
    return vm
