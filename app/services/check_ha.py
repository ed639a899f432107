"""What a VM's HA policy may say by itself; that VMs wait for each other in a ring is `placement_problems`' to find."""

from app.domain.errors import InvalidInput
from app.domain.policy import HaPolicy, QuorumLoss
from app.domain.vm import Vm
from app.ports.store import Transaction

WAITS_FOR_MAX = 32


def check_ha(tx: Transaction, vm: Vm, ha: HaPolicy) -> None:
    """InvalidInput says which field cannot be, and why."""
    if ha.on_quorum_loss is QuorumLoss.KEEP and not vm.local:
        raise InvalidInput(
            "on_quorum_loss",
            f"must not be keep: the volumes of {vm.name} are in the shared pool {vm.pool}, and another node would "
            "start it while this copy runs on; use pause or stop",
        )
    for name in ("guest_silence_seconds", "restart_hold_seconds"):
        if not 0 <= getattr(ha, name) <= 86_400:
            raise InvalidInput(name, "must be from 0 (off) to 86400 seconds")
    if len(ha.waits_for) > WAITS_FOR_MAX:
        raise InvalidInput("waits_for", f"must name at most {WAITS_FOR_MAX} servers")
    for vm_id in ha.waits_for:
        other = tx.vms.get(vm_id)
        if other is None or other.project_id != vm.project_id:
            raise InvalidInput("waits_for", f"there is no server {vm_id} in this project")
