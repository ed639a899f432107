"""An operator says how HA treats a VM, and where it may be."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.domain.cluster import ClusterView
from app.domain.errors import InvalidInput, NotFound
from app.domain.placement_problems import problems_with
from app.domain.records import ClusterEvent
from app.domain.vm import Desired, Vm
from app.ports.store import Transaction
from app.services.check_ha import check_ha
from app.services.load_view import load_view
from app.services.refusals import WrongState


def set_vm_rules(
    tx: Transaction, vm_id: int, ha: Mapping[str, Any], needs: Mapping[str, Any], priority: int | None, now: datetime
) -> Vm:
    """What is not sent stays. NotFound, WrongState; InvalidInput for rules that contradict each other or the cluster.

    A VM that runs stays where it is: the rules count from its next placement on.
    """
    old = tx.vms.get(vm_id)
    if old is None:
        raise NotFound(f"there is no VM {vm_id}")
    if old.desired is Desired.DELETED:
        raise WrongState(f"VM {old.name} is being deleted")
    new = replace(old, ha=replace(old.ha, **ha), needs=replace(old.needs, **needs))
    if priority is not None:
        new = replace(new, priority=priority)
    if new == old:
        return old
    if ha:
        check_ha(tx, new, new.ha)
    refuse_new_problems(load_view(tx, now), old, new)
    tx.vms.save(new)
    said = ", ".join([*ha, *needs, *(["priority"] if priority is not None else [])])
    tx.events.add(ClusterEvent(0, now, "vm.rules", f"{new.name}: changed {said}", vm_id=new.id))
    return new


def refuse_new_problems(view: ClusterView, old: Vm | None, new: Vm) -> None:
    """InvalidInput for the first problem that this change would bring. What is there already is the check's to name."""
    known = {p.text for p in problems_with(view, old)} if old is not None else set()
    for problem in problems_with(view, new):
        if problem.text not in known and problem.field not in ("memory_mib", "cores", "pool"):
            raise InvalidInput(problem.field, problem.text)
