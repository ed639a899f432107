"""An agent tells what it sees of its own node and of the VMs assigned to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from app.domain.actions import VmSeen
from app.domain.cluster import Step
from app.domain.node import Node, NodeRole
from app.domain.policy import End
from app.domain.records import ActionStatus, ApiAction, ClusterEvent
from app.domain.vm import Observed, PowerSeen, Vm
from app.ports.store import Transaction
from app.services.after_end import after_end, tell_restart
from app.services.emit_event import emit_event
from app.services.hold_guarantee import note_broken_guarantee
from app.services.incidents import add_steps


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What an agent says about its own node; the database's `state` is the coordinator's word, not the agent's."""

    id: int
    name: str
    address: str
    role: NodeRole
    memory_mib: int
    cores: int
    rack: str
    watchdog_seconds: float | None
    boot_id: str
    #: what it offers and reaches; empty says nothing, and placement then asks nothing
    cpu_models: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    #: of the software that this agent is
    version: str = ""


def report_observed(
    tx: Transaction, facts: NodeFacts, seen: Sequence[VmSeen], health: str, now: datetime, database: str | None = None
) -> None:
    """Write the node's facts and what differs of its VMs; end actions and tell billing of what that means.

    `database`: see `Node`; None leaves what is known of it.
    What is said about an old placement is not written: the VM has another owner now.
    """
    _register(tx, facts, health, database, now)
    for one in seen:
        vm = tx.vms.get(one.vm_id)
        if vm is not None and vm.node == facts.name and vm.generation == one.generation:
            _observe(tx, facts.name, vm, one, now)


def _register(tx: Transaction, facts: NodeFacts, health: str, database: str | None, now: datetime) -> None:
    rows = tx.nodes.where(name=facts.name)
    old = rows[0] if rows else Node(0, facts.name, facts.address)
    new = replace(
        old, address=facts.address, role=facts.role, memory_mib=facts.memory_mib, cores=facts.cores, rack=facts.rack,
        watchdog_seconds=facts.watchdog_seconds, boot_id=facts.boot_id, health=health,
        cpu_models=facts.cpu_models, pools=facts.pools, networks=facts.networks, version=facts.version,
        database=old.database if database is None else database,
    )  # fmt: skip
    if old.leaving and new.boot_id != old.boot_id:
        new = replace(new, leaving="", frozen_until=None, reboot_of="")
        tx.events.add(ClusterEvent(0, now, "node.returned", f"{facts.name} is back from its shutdown", node=facts.name))
    if not rows:
        tx.nodes.add(replace(new, id=facts.id))
    elif new != old:
        tx.nodes.save(new)
        if _gives(new) != _gives(old):
            note_broken_guarantee(tx, f"{facts.name} came up with another role, rack or size", now)
    if old.health != health and not (not rows and health == "ok"):
        tx.events.add(ClusterEvent(0, now, "node.health", f"{facts.name}: {health}", node=facts.name))


def _gives(node: Node) -> tuple[object, ...]:
    """What the capacity promise rests on."""
    return node.role, node.rack, node.memory_mib, node.cores


def _observe(tx: Transaction, node: str, vm: Vm, one: VmSeen, now: datetime) -> None:
    same_run = vm.seen_current and vm.observed.power in (PowerSeen.RUNNING, PowerSeen.PAUSED)
    verified_at = vm.observed.verified_at if same_run and not one.ended else None
    if one.verified and verified_at is None:
        verified_at = now
    observed = Observed(
        one.power, one.generation, node, verified_at, one.error, one.resets_done, one.ended, one.ends, one.ends_in_a_row
    )
    waits_no_more = one.power in (PowerSeen.RUNNING, PowerSeen.PAUSED)
    new = replace(vm, observed=observed, unplaced_reason="" if waits_no_more else vm.unplaced_reason)
    if one.ended and one.ends > vm.observed.ends:
        new = after_end(tx, new, End(one.ended), now)
    if one.tried_long or (new.verified and not vm.verified):
        new = replace(new, failed_nodes=())
    tx.vms.save(new)
    _tell(tx, vm, new, now)
    _end_actions(tx, new, now)


def _tell(tx: Transaction, old: Vm, new: Vm, now: datetime) -> None:
    """Steps of the incident and events for billing: what became true by this report."""
    data: dict[str, object] = {"vm": new.id, "name": new.name, "node": new.node, "generation": new.generation}
    up = (PowerSeen.RUNNING, PowerSeen.PAUSED)
    started = new.observed.power in up and not (old.seen_current and old.observed.power in up)
    verified = new.verified and not old.verified
    if verified:
        kind = "vm.recovered" if new.incident_id is not None else "vm.started"
        emit_event(tx, kind, data, now, new.project_id)
    tell_restart(tx, old, new, now)
    was_up = old.observed.power in up and old.seen_current
    if new.observed.power is PowerSeen.OFF and was_up:
        emit_event(tx, "vm.stopped", data, now, new.project_id)
    incident = tx.incidents.get(new.incident_id) if new.incident_id is not None else None
    if incident is None:
        return
    steps = []
    if started:
        steps.append(Step(now, "started", f"generation {new.generation}", vm_id=new.id, node=new.node or ""))
    if verified:
        steps.append(Step(now, "verified", "the guest is up", vm_id=new.id, node=new.node or ""))
    if new.observed.error and new.observed.error != old.observed.error:
        what = "start-failed" if new.observed.power in _STARTS else "held"
        steps.append(Step(now, what, new.observed.error, vm_id=new.id, node=new.node or ""))
    if steps:
        add_steps(tx, incident, steps)


_STARTS = (PowerSeen.STARTING, PowerSeen.FAILED)
_ENDED_BY_RUNNING = ("create_server", "start_server")
_ENDED_BY_OFF = ("stop_server", "shutdown_server")
_ENDED_BY_RESET = ("reset_server", "reboot_server")


def _end_actions(tx: Transaction, vm: Vm, now: datetime) -> None:
    for action in tx.actions.where(vm_id=vm.id, status=ActionStatus.RUNNING):
        done = (
            (action.command in _ENDED_BY_RUNNING and vm.verified)
            or (action.command in _ENDED_BY_OFF and vm.observed.power is PowerSeen.OFF)
            or (action.command in _ENDED_BY_RESET and vm.observed.resets_done >= vm.resets_wanted)
        )
        overtaken = (action.command in _ENDED_BY_RUNNING and not vm.wants_to_run) or (
            action.command in _ENDED_BY_OFF and vm.wants_to_run
        )
        if done:
            end_action(tx, action, now)
        elif overtaken:
            end_action(tx, action, now, "conflict", "a later request asked for the opposite")


def end_action(tx: Transaction, action: ApiAction, now: datetime, code: str = "", message: str = "") -> None:
    """Success without a code, else an error that says why."""
    status = ActionStatus.ERROR if code else ActionStatus.SUCCESS
    tx.actions.save(replace(action, status=status, finished=now, progress=100, error_code=code, error_message=message))
