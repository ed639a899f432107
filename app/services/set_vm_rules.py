"""An operator says how HA treats a VM, and where it may be."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.domain.cluster import ClusterView
from app.domain.errors import InvalidInput, NotFound
from app.domain.placement_problems import problems_with
from app.domain.policy import HaClass
from app.domain.records import ClusterEvent
from app.domain.vm import Desired, Vm
from app.ports.store import Transaction
from app.services.check_ha import check_ha
from app.services.hold_guarantee import hold_guarantee
from app.services.load_view import load_view
from app.services.refusals import WrongState


def set_vm_rules(
    tx: Transaction,
    vm_id: int,
    ha: Mapping[str, Any],
    needs: Mapping[str, Any],
    priority: int | None,
    now: datetime,
    *,
    force: bool = False,
) -> Vm:
    """What is not sent stays. NotFound, WrongState; InvalidInput for rules that contradict each other or the cluster.

    Without `force` GuaranteeBroken if what is promised to this VM from now on, or what it asks of its next node, is
    more than the cluster can keep. A VM that runs stays where it is: the rules count from its next placement on.
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
    view = load_view(tx, now)
    refuse_new_problems(view, old, new)
    if not force and new.wants_to_run and new.ha.ha_class is HaClass.GUARANTEED and _asks_for_more(old, new):
        others = tuple(v for v in view.vms if v.id != new.id)
        hold_guarantee(tx, replace(view, vms=(*others, new)), f"changing {new.name}")
    tx.vms.save(new)
    said = ", ".join([*ha, *needs, *(["priority"] if priority is not None else [])])
    tx.events.add(ClusterEvent(0, now, "vm.rules", f"{new.name}: changed {said}", vm_id=new.id))
    return new


def _asks_for_more(old: Vm, new: Vm) -> bool:
    """A change that the capacity promise depends on; when it is started, and after what, is none."""
    return (old.needs, old.ha.ha_class) != (new.needs, new.ha.ha_class)


def refuse_new_problems(view: ClusterView, old: Vm | None, new: Vm) -> None:
    """InvalidInput for the first problem that this change would bring. What is there already is the check's to name."""
    known = {p.text for p in problems_with(view, old)} if old is not None else set()
    for problem in problems_with(view, new):
        if problem.text not in known and problem.field not in ("memory_mib", "cores", "pool"):
            raise InvalidInput(problem.field, problem.text)
