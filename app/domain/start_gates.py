"""Which VMs must not start yet, and why. Computed by each agent for its own VMs, from the same rows in the same way.

Three gates. A VM waits for those named in `waits_for` to be verified up; a best-effort VM of a recovery waits for the
guaranteed ones of that recovery; and of all VMs of the open recoveries only so many start at the same time (storage is
the hidden limit after a mass failure): those that have begun first, then the most important.

No gate is for safety, so none may hold for ever:

* who is stopped, suspended, deleted, unplaced or given up by its node is not waited for;
* an agent waits at a gate for `NodeAgentSettings.gate_seconds_max` at most, whatever it is that does not come up.

Two agents that read at different times can start one more than the cap for a moment. That is the price of needing no
permission from anybody: a start waits for no further write, and no coordinator can be lost with the permits.
"""

from collections.abc import Iterable, Mapping

from app.domain.policy import HaClass
from app.domain.vm import PowerSeen, Vm


def pending(vm: Vm) -> bool:
    """It is still expected to come up."""
    return vm.wants_to_run and vm.node is not None and not vm.verified and not vm.given_up


def dependencies(mine: Iterable[Vm]) -> tuple[int, ...]:
    """The ids of the VMs that these wait for before they start."""
    return tuple(sorted({vm_id for vm in mine if pending(vm) for vm_id in vm.ha.waits_for}))


def held_starts(mine: Iterable[Vm], others: Iterable[Vm], starts_max: int) -> Mapping[int, str]:
    """VM -> the reason why it waits. `others`: the VMs of open recoveries, and the dependencies; 0 is no cap."""
    own = tuple(mine)
    known = {vm.id: vm for vm in (*others, *own)}
    held = {vm.id: why for vm in known.values() if pending(vm) and (why := _waits(vm, known))}
    recovering = [vm for vm in known.values() if vm.incident_id is not None and pending(vm) and vm.id not in held]
    if starts_max:
        for vm in sorted(recovering, key=_rank)[starts_max:]:
            if not _has_begun(vm):
                held[vm.id] = f"waits for one of the {starts_max} starts that the cluster does at a time"
    ids = {vm.id for vm in own}
    return {vm_id: why for vm_id, why in held.items() if vm_id in ids}


def _waits(vm: Vm, known: Mapping[int, Vm]) -> str:
    for vm_id in vm.ha.waits_for:
        other = known.get(vm_id)
        if other is not None and pending(other):
            return f"waits for {other.name} to be up"
    if vm.ha.ha_class is not HaClass.BEST_EFFORT or vm.incident_id is None:
        return ""
    first = (v for v in known.values() if v.incident_id == vm.incident_id and v.ha.ha_class is HaClass.GUARANTEED)
    return next((f"waits for {v.name}, which is guaranteed" for v in first if pending(v)), "")


def _has_begun(vm: Vm) -> bool:
    return vm.seen_current and vm.observed.power in (PowerSeen.STARTING, PowerSeen.RUNNING, PowerSeen.PAUSED)


def _rank(vm: Vm) -> tuple[bool, bool, int, int, int]:
    return (not _has_begun(vm), vm.ha.ha_class is HaClass.BEST_EFFORT, -vm.priority, -vm.memory_mib, vm.id)
