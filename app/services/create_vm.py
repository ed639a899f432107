"""A customer creates a VM: checked, placed and written in one transaction. The agent of its node does the work."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from app.domain.errors import InvalidInput, NameTaken, QuotaExceeded
from app.domain.placement_advice import PlacementAdvice
from app.domain.policy import HaPolicy, QuorumLoss
from app.domain.records import ApiAction, ClusterEvent, Image, Plan, Project
from app.domain.vm import Desired, Vm
from app.ports.store import Rows, Transaction
from app.services.begin_action import begin_action
from app.services.check_labels import check_labels
from app.services.load_view import load_view
from app.services.place_vm import place_vm, why_there
from app.services.refusals import NotAdmitted
from app.services.set_vm_rules import refuse_new_problems

#: gets project_id, plan, image, memory_mib; returns None or the sentence that refuses
Vote = Callable[..., str | None]

USER_DATA_MAX_BYTES = 32 * 1024
_Named = TypeVar("_Named", Plan, Image)
_LABEL = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")


@dataclass(frozen=True, slots=True)
class VmOrder:
    """What is asked for. Plan and image by name or id. `local_pools`: those that only one node reaches."""

    name: str
    plan: str | int
    image: str | int
    labels: dict[str, str]
    user_data: str = ""
    start: bool = True
    placement_group: int | None = None
    local_pools: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class CreatedVm:
    """The VM, the action that ends when it was created, and those that follow."""

    vm: Vm
    action: ApiAction
    next_actions: tuple[ApiAction, ...]


def create_vm(
    tx: Transaction, project: Project, order: VmOrder, votes: Sequence[Vote], now: datetime,
    advice: PlacementAdvice | None = None,
) -> CreatedVm:  # fmt: skip
    """Errors: InvalidInput, NameTaken, QuotaExceeded, NotAdmitted, NoCapacity.

    Started at once it gets a node and generation 1; else neither, until it is switched on: a VM that is off is
    promised no memory.
    """
    plan, image = _check(tx, order)
    _check_name_is_free(tx, project, order.name)
    if project.vms_max and len(tx.vms.where(project_id=project.id)) >= project.vms_max:
        raise QuotaExceeded(f"this project may have {project.vms_max} servers and has them; delete one or ask for more")
    for vote in votes:
        refused = vote(project_id=project.id, plan=plan.name, image=image.name, memory_mib=plan.memory_mib)
        if refused is not None:
            raise NotAdmitted(refused)
    vm = _in_group(tx, _new_vm(project, order, plan, image, now), order, now)
    if not order.start:
        vm = tx.vms.add(vm)
        return CreatedVm(vm, begin_action(tx, vm, "create_server", now, done=True), ())
    choice = place_vm(tx, load_view(tx, now, advice), vm)
    vm = tx.vms.add(replace(vm, node=choice.node, generation=1))
    tx.events.add(ClusterEvent(0, now, "vm.placed", why_there(vm.name, choice), node=choice.node, vm_id=vm.id))
    create, start = (begin_action(tx, vm, command, now) for command in ("create_server", "start_server"))
    return CreatedVm(vm, create, (start,))


def _in_group(tx: Transaction, vm: Vm, order: VmOrder, now: datetime) -> Vm:
    """The group by its id; one that could not hold one more is refused before anything is made."""
    if order.placement_group is None:
        return vm
    group = tx.groups.get(order.placement_group)
    if group is None or group.project_id != vm.project_id:
        raise InvalidInput("placement_group", f"there is no placement group with the ID {order.placement_group}")
    grouped = replace(vm, needs=replace(vm.needs, groups=(group.name,)))
    refuse_new_problems(load_view(tx, now), None, grouped)
    return grouped


def check_hostname(name: str) -> None:
    """RFC 1123, section 2.1: labels of letters, digits and dashes, 253 characters in all. InvalidInput otherwise."""
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise InvalidInput(
            "name", "must be a hostname: letters, digits and dashes, in parts of at most 63 characters between dots"
        )


def _check(tx: Transaction, order: VmOrder) -> tuple[Plan, Image]:
    check_hostname(order.name)
    check_labels(order.labels)
    if len(order.user_data.encode()) > USER_DATA_MAX_BYTES:
        raise InvalidInput("user_data", f"is longer than {USER_DATA_MAX_BYTES // 1024} KiB")
    plan = _one(tx.plans, order.plan)
    if plan is None:
        raise InvalidInput("server_type", f"there is no server type {order.plan!r}; GET /v1/server_types lists them")
    image = _one(tx.images, order.image)
    if image is None:
        raise InvalidInput("image", f"there is no image {order.image!r}; GET /v1/images lists them")
    if image.memory_min_mib > plan.memory_mib:
        raise InvalidInput(
            "server_type", f"{plan.name} has {plan.memory_mib} MiB; {image.name} needs {image.memory_min_mib} MiB"
        )
    if image.disk_gib > plan.disk_gib:
        raise InvalidInput(
            "server_type", f"{plan.name} has a disk of {plan.disk_gib} GiB; {image.name} needs {image.disk_gib} GiB"
        )
    return plan, image


def _check_name_is_free(tx: Transaction, project: Project, name: str) -> None:
    """The store's unique key has the last word; this only says it in the customer's words."""
    others = tx.vms.where(project_id=project.id, name=name)
    if not others:
        return
    if others[0].desired is Desired.DELETED:
        raise NameTaken(f"the server that had the name {name!r} is still being deleted; try again when it is gone")
    raise NameTaken(f"a server with the name {name!r} exists in this project already")


def _new_vm(project: Project, order: VmOrder, plan: Plan, image: Image, now: datetime) -> Vm:
    """On a pool of one node alone it is of no use elsewhere, so an isolation of that node does not end it."""
    local = image.pool in order.local_pools
    ha = HaPolicy(on_quorum_loss=QuorumLoss.KEEP if local else QuorumLoss.PAUSE)
    return Vm(
        0, order.name, project.id, plan.name, plan.cores, plan.memory_mib, plan.disk_gib, image.name, image.pool, now,
        desired=Desired.RUNNING if order.start else Desired.STOPPED, labels=order.labels, user_data=order.user_data,
        local=local, ha=ha,
    )  # fmt: skip


def _one(rows: Rows[_Named], wanted: str | int) -> _Named | None:
    """By name; by id where that is a number that no name is."""
    if isinstance(wanted, str):
        found = rows.where(name=wanted)
        if found:
            return found[0]
        if not wanted.isdecimal() or len(wanted) > 9:
            return None
    return rows.get(int(wanted))
