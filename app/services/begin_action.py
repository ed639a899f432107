"""Write down what a customer asked for, so that it can be followed. Agents' reports end it: see `report_observed`."""

from collections.abc import Sequence
from datetime import datetime

from app.domain.records import ActionStatus, ApiAction
from app.domain.vm import Vm
from app.ports.store import Transaction
from app.services.report_observed import end_action


def begin_action(tx: Transaction, vm: Vm, command: str, now: datetime, *, done: bool = False) -> ApiAction:
    """A running action; with `done` one that has ended: the VM is as wanted already and no report would end it."""
    if done:
        ended = ApiAction(0, vm.project_id, command, vm.id, ActionStatus.SUCCESS, now, finished=now, progress=100)
        return tx.actions.add(ended)
    return tx.actions.add(ApiAction(0, vm.project_id, command, vm.id, ActionStatus.RUNNING, now))


def overtake_actions(tx: Transaction, vm: Vm, commands: Sequence[str], now: datetime) -> None:
    """End those that a new request makes pointless: the agent may have nothing to report about them any more."""
    for action in tx.actions.where(vm_id=vm.id, status=ActionStatus.RUNNING, command=tuple(commands)):
        end_action(tx, action, now, "conflict", "a later request asked for the opposite")
