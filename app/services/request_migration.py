"""An operator asks that a VM moves to another node while it runs. The coordinator begins it, as the caps allow."""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import InvalidInput, NotFound
from app.domain.migration import Migration
from app.domain.moves import why_not_there
from app.domain.records import ApiAction
from app.domain.vm import Vm, status_of
from app.ports.store import Transaction
from app.services.begin_action import begin_action
from app.services.finish_migration import COMMAND
from app.services.load_view import load_view
from app.services.refusals import WrongState


def request_migration(tx: Transaction, vm_id: int, to: str, now: datetime) -> ApiAction:
    """`to` empty: where there is room. NotFound, InvalidInput (no such node), WrongState (`to` cannot take it, too)."""
    vm = _found(tx, vm_id)
    if vm.node is None or not vm.wants_to_run:
        raise WrongState(f"{vm.name} is {status_of(vm).value}: only a VM that runs can migrate")
    if vm.migrating_to is not None:
        raise WrongState(f"{vm.name} migrates to {vm.migrating_to} already; cancel that first, or wait for its end")
    if to:
        view = load_view(tx)
        if view.node(to) is None:
            raise InvalidInput("to", f"there is no node {to!r}")
        why = why_not_there(view, vm, to)
        if why:
            raise WrongState(f"{vm.name} cannot migrate to {to}: {why}")
    tx.vms.save(replace(vm, migration=Migration(vm.migration.generation, wanted_to=to)))
    return begin_action(tx, vm, COMMAND, now)


def _found(tx: Transaction, vm_id: int) -> Vm:
    vm = tx.vms.get(vm_id)
    if vm is None:
        raise NotFound(f"there is no VM {vm_id}")
    return vm
