"""Placement groups: made, removed, entered and left."""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import NotFound
from app.domain.placement_group import PlacementGroup
from app.domain.vm import Desired, Vm
from app.ports.store import Transaction
from app.services.check_labels import check_labels
from app.services.find_vm import find_vm
from app.services.load_view import load_view
from app.services.refusals import WrongState
from app.services.set_vm_rules import refuse_new_problems


def add_group(tx: Transaction, group: PlacementGroup) -> PlacementGroup:
    """NotFound for a project that does not exist; NameTaken within one."""
    if tx.projects.get(group.project_id) is None:
        raise NotFound(f"there is no project {group.project_id}")
    return tx.groups.add(group)


def find_group(tx: Transaction, project_id: int | None, group_id: int) -> PlacementGroup:
    """NotFound also for another project's; None as project: anybody's."""
    group = tx.groups.get(group_id)
    if group is None or project_id not in (None, group.project_id):
        raise NotFound(f"placement group with ID '{group_id}' not found")
    return group


def remove_group(tx: Transaction, project_id: int | None, group_id: int) -> None:
    """Its VMs are in it no more; where they run they run on."""
    group = find_group(tx, project_id, group_id)
    for vm in members_of(tx, group):
        tx.vms.save(_without(vm, group))
    tx.groups.remove(group.id)


def members_of(tx: Transaction, group: PlacementGroup) -> list[Vm]:
    """The VMs that name it."""
    return [v for v in tx.vms.where(project_id=group.project_id) if group.name in v.needs.groups]


def enter_group(tx: Transaction, project_id: int, vm_id: int, group_id: int, now: datetime) -> Vm:
    """The VM must be off, and in no other group. NotFound, WrongState, InvalidInput."""
    vm, group = find_vm(tx, project_id, vm_id), find_group(tx, project_id, group_id)
    if vm.desired is not Desired.STOPPED:
        raise WrongState(f"server {vm.name} is not off: switch it off first, a group counts from its next start on")
    if vm.needs.groups:
        raise WrongState(f"server {vm.name} is in the placement group {vm.needs.groups[0]}: take it out first")
    new = replace(vm, needs=replace(vm.needs, groups=(group.name,)))
    refuse_new_problems(load_view(tx, now), vm, new)
    tx.vms.save(new)
    return new


def leave_group(tx: Transaction, project_id: int, vm_id: int) -> Vm:
    """WrongState when it is in none."""
    vm = find_vm(tx, project_id, vm_id)
    if not vm.needs.groups:
        raise WrongState(f"server {vm.name} is in no placement group")
    new = replace(vm, needs=replace(vm.needs, groups=()))
    tx.vms.save(new)
    return new


def _without(vm: Vm, group: PlacementGroup) -> Vm:
    return replace(vm, needs=replace(vm.needs, groups=tuple(g for g in vm.needs.groups if g != group.name)))


def change_group(
    tx: Transaction, project_id: int, group_id: int, name: str | None, labels: dict[str, str] | None
) -> PlacementGroup:
    """None leaves as it is. Its VMs follow a new name. NotFound, NameTaken, InvalidInput."""
    old = find_group(tx, project_id, group_id)
    new = replace(old, name=old.name if name is None else name, labels=old.labels if labels is None else labels)
    check_labels(new.labels)
    tx.groups.save(new)
    if new.name != old.name:
        for vm in members_of(tx, old):
            names = tuple(new.name if g == old.name else g for g in vm.needs.groups)
            tx.vms.save(replace(vm, needs=replace(vm.needs, groups=names)))
    return new
