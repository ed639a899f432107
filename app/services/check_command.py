"""May this command be given to this VM now?"""

from app.domain.errors import Locked
from app.domain.vm import ALLOWED, Command, Vm, status_of
from app.services.refusals import WrongState


def check_command(vm: Vm, command: Command) -> None:
    """Locked while the VM is suspended; WrongState by the domain's table."""
    if vm.locked:
        raise Locked(f"server {vm.name} is locked: it is suspended, and only the operator can change that")
    status = status_of(vm)
    if status not in ALLOWED[command]:
        allowed = ", ".join(sorted(s.value for s in ALLOWED[command]))
        raise WrongState(f"server {vm.name} is {status.value}; {command.value} is possible when it is {allowed}")
