"""A VM ended by itself, runs again, or stands still for its disk: what is wanted now, and who hears of it."""

from dataclasses import replace
from datetime import datetime

from app.domain.policy import END_WORDS, AfterEnd, End
from app.domain.records import ClusterEvent
from app.domain.vm import Desired, PowerSeen, Vm
from app.ports.store import Transaction
from app.services.emit_event import emit_event

_FOLLOWS = {
    AfterEnd.RESTART: "it is restarted",
    AfterEnd.STOP: "it stays off",
    AfterEnd.IGNORE: "it is left as it is",
}


def after_end(tx: Transaction, vm: Vm, end: End, now: datetime) -> Vm:
    """Write the end down, once, and return the VM as its policy wants it from now on."""
    after = vm.ha.after(end)
    text = f"{vm.name} on {vm.node}: {END_WORDS[end]}; {_FOLLOWS[after]} ({vm.observed.ends_in_a_row} in a row)"
    _tell(tx, f"vm.{end.value}", text, vm, now)
    if end is not End.SHUTDOWN:
        emit_event(tx, f"vm.{end.value}", {**_data(vm), "follows": after.value}, now, vm.project_id)
    return replace(vm, desired=Desired.STOPPED) if after is AfterEnd.STOP else vm


def tell_restart(tx: Transaction, old: Vm, new: Vm, now: datetime) -> None:
    """It runs again after an end; or its disk failed and it was paused."""
    seen, before = new.observed, old.observed
    if before.ended and not seen.ended and seen.power is PowerSeen.RUNNING and before.power is not PowerSeen.RUNNING:
        why = END_WORDS[End(before.ended)]
        text = f"{new.name} on {new.node}: restarted after {why}, the {seen.ends}. time ({seen.ends_in_a_row} in a row)"
        _tell(tx, "vm.restarted", text, new, now)
        emit_event(tx, "vm.restarted", {**_data(new), "after": before.ended}, now, new.project_id)
    if seen.power is PowerSeen.PAUSED and not seen.ended and seen.error and seen.error != before.error:
        _tell(tx, "vm.io_error", f"{new.name} on {new.node}: {seen.error}", new, now)
        emit_event(tx, "vm.io_error", {**_data(new), "error": seen.error}, now, new.project_id)


def _data(vm: Vm) -> dict[str, object]:
    seen = vm.observed
    return {
        "vm": vm.id, "name": vm.name, "node": vm.node, "generation": vm.generation, "ends": seen.ends,
        "ends_in_a_row": seen.ends_in_a_row,
    }  # fmt: skip


def _tell(tx: Transaction, kind: str, text: str, vm: Vm, now: datetime) -> None:
    tx.events.add(ClusterEvent(0, now, kind, text, node=vm.node or "", vm_id=vm.id))
