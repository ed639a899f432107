"""A customer switches a VM on or off, or resets it. Only what is wanted is written; the node's agent does it.

A VM that is off may be switched on elsewhere. That is safe only when its node has seen it off *after* it was last
wanted off: what was seen before that may be the moment before a start. So

* what was seen is forgotten when a VM that nobody saw up is switched off: its node must look again;
* a VM that was seen off gets a new generation when it is switched on, also where it stays: a report that is still on
  its way speaks of the old one and is dropped.
"""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import Conflict
from app.domain.node import NodeState
from app.domain.placement import why_not
from app.domain.placement_advice import PlacementAdvice
from app.domain.placement_ledger import Ledger
from app.domain.records import ApiAction, ClusterEvent
from app.domain.vm import FROZEN, Command, Desired, PowerSeen, StopMode, Vm
from app.ports.store import Transaction
from app.services.begin_action import begin_action, overtake_actions
from app.services.check_command import check_command
from app.services.find_vm import find_vm
from app.services.hold_guarantee import hold_guarantee_with
from app.services.load_view import load_view
from app.services.place_vm import place_vm, promise_memory, why_there

#: what the customer's tools call the action of each command
COMMANDS = {
    Command.POWERON: "start_server",
    Command.POWEROFF: "stop_server",
    Command.SHUTDOWN: "shutdown_server",
    Command.REBOOT: "reboot_server",
    Command.RESET: "reset_server",
}
_STARTS = ("create_server", "start_server")
_STOPS = ("stop_server", "shutdown_server")
_RESETS = ("reset_server", "reboot_server")
_UP = (PowerSeen.RUNNING, PowerSeen.PAUSED, PowerSeen.STARTING)


def power_vm(
    tx: Transaction, project_id: int, vm_id: int, command: Command, now: datetime,
    advice: PlacementAdvice | None = None,
) -> ApiAction:  # fmt: skip
    """Errors: NotFound, Locked, WrongState; for POWERON also NoCapacity and Conflict (try again)."""
    vm = find_vm(tx, project_id, vm_id)
    check_command(vm, command)
    match command:
        case Command.POWERON:
            return _power_on(tx, vm, now, advice)
        case Command.POWEROFF:
            return _power_off(tx, vm, command, StopMode.HARD, now)
        case Command.SHUTDOWN:
            return _power_off(tx, vm, command, StopMode.ACPI, now)
        case Command.RESET:
            return _reset(tx, vm, command, StopMode.HARD, now)
        case Command.REBOOT:
            return _reset(tx, vm, command, StopMode.ACPI, now)
        case _:
            raise ValueError(f"{command} is not about power")


def _power_on(tx: Transaction, vm: Vm, now: datetime, advice: PlacementAdvice | None) -> ApiAction:
    frozen = vm.seen_current and vm.observed.power is PowerSeen.OFF and vm.observed.error == FROZEN
    if vm.desired is Desired.RUNNING and not frozen:
        return begin_action(tx, vm, COMMANDS[Command.POWERON], now, done=vm.verified)
    overtake_actions(tx, vm, _STOPS, now)
    # Its node may have stopped it without having said so yet: only a guest that is seen alive from now on counts.
    observed = replace(vm.observed, verified_at=None)
    wanted = _placed(tx, replace(vm, desired=Desired.RUNNING, failed_nodes=(), observed=observed), now, advice)
    tx.vms.save(wanted)
    return begin_action(tx, wanted, COMMANDS[Command.POWERON], now)


def _placed(tx: Transaction, vm: Vm, now: datetime, advice: PlacementAdvice | None) -> Vm:
    """On its own node where that can take it; else on another, if nothing of it can be left on its own."""
    if vm.local and vm.node is not None:
        return vm  # its disk is there, and so it starts there, whenever that node is well
    view = load_view(tx, now, advice)
    seen_off = vm.seen_current and vm.observed.power is PowerSeen.OFF
    home = view.node(vm.node or "")
    if home is not None and not why_not(Ledger(view), vm, home.name):
        hold_guarantee_with(tx, view, vm, home.name)
        promise_memory(tx, home)
        return replace(vm, generation=vm.next_generation) if seen_off else vm
    if home is None or seen_off or home.state is NodeState.FENCED:
        choice = place_vm(tx, view, vm)
        text = why_there(vm.name, choice)
        tx.events.add(ClusterEvent(0, now, "vm.placed", text, node=choice.node, vm_id=vm.id))
        return replace(vm, node=choice.node, generation=vm.next_generation, unplaced_reason="")
    if home.state is NodeState.LOST:
        return vm  # the recovery of its node moves it, once there is a proof
    raise Conflict(f"server {vm.name} is still being stopped, and its node cannot keep it; try again in a moment")


def _power_off(tx: Transaction, vm: Vm, command: Command, mode: StopMode, now: datetime) -> ApiAction:
    overtake_actions(tx, vm, (*_STARTS, *_RESETS), now)
    if vm.node is None:
        tx.vms.save(replace(vm, desired=Desired.STOPPED, stop_mode=mode, unplaced_reason=""))
        return begin_action(tx, vm, COMMANDS[command], now, done=True)
    if vm.desired is Desired.STOPPED:
        off = vm.seen_current and vm.observed.power is PowerSeen.OFF
        if mode is StopMode.HARD:
            tx.vms.save(replace(vm, stop_mode=mode))  # cuts short a shutdown that the guest does not heed
        return begin_action(tx, vm, COMMANDS[command], now, done=off)
    observed = vm.observed
    if not (vm.seen_current and observed.power in _UP):
        observed = replace(observed, power=PowerSeen.UNKNOWN)
    tx.vms.save(replace(vm, desired=Desired.STOPPED, stop_mode=mode, observed=observed))
    return begin_action(tx, vm, COMMANDS[command], now)


def _reset(tx: Transaction, vm: Vm, command: Command, mode: StopMode, now: datetime) -> ApiAction:
    tx.vms.save(replace(vm, resets_wanted=vm.resets_wanted + 1, reset_mode=mode))
    return begin_action(tx, vm, COMMANDS[command], now)
