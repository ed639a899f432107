"""What the agent of a node does about live migrations: away from here (`away`), and to here (`is_passenger`).

The theory is in `migration`. While a VM migrates these rules replace the ordinary ones: it is not started, resumed,
reset or stopped, and an end that is wanted (a stop, a cancel) first ends the migration. Only the rules of safety are
above them: no quorum pauses and destroys as always, and so does a row that names another owner.

By level: a job that runs is watched, a copy that was handed over is attested, a job that is over while the copy is up
has failed. An agent that was restarted in the middle sees the same things and goes on.
"""

from app.domain.actions import AbortMove, Action, EndMove, MigrateVm, NoteMove
from app.domain.events import DomainFact, DomainState, MoveFact
from app.domain.host_shutdown import stops_vms
from app.domain.migration import MoveEnd
from app.domain.node import Node
from app.domain.node_agent_state import Moving, NodeAgentSettings, NodeAgentState
from app.domain.replace import replace
from app.domain.vm import Vm

_ABORT_REPEAT_SECONDS = 10.0


def away(
    state: NodeAgentState,
    now: float,
    vm: Vm,
    fact: DomainFact | None,
    settings: NodeAgentSettings,
    actions: list[Action],
) -> NodeAgentState:
    """One VM of this node that migrates to another."""
    if vm.id in state.move_writes or state.desired_at <= state.move_written_at:
        return state
    if fact is None or fact.state not in (DomainState.RUNNING, DomainState.PAUSED):
        if fact is not None and fact.ended == "migrated":
            return _end(state, vm, MoveEnd.FINISHED, "", actions)
        why = fact.ended if fact is not None and fact.ended else "it is not there"
        return _end(state, vm, MoveEnd.GONE, f"the VM went off during the migration: {why}", actions)
    moving = state.moves.get(vm.id)
    if moving is not None and moving.passenger != vm.migration.generation:
        moving = None
    if fact.move is not None and fact.move.running:
        return _watch(state, now, vm, fact.move, moving or Moving(vm.migration.generation, now, now), settings, actions)
    unwanted = _unwanted(state.node, vm, fact)
    if moving is not None:
        error = moving.given_up or (fact.move.error if fact.move is not None else "") or "it ended without a word"
        how = MoveEnd.CANCELLED if unwanted else MoveEnd.FAILED
        return _end(state, vm, how, unwanted or error, actions)
    if unwanted:
        return _end(state, vm, MoveEnd.CANCELLED, unwanted, actions)
    actions.append(MigrateVm(vm, state.desired_at + settings.lease_seconds))
    begun = Moving(vm.migration.generation, now, now, noted_at=now)
    return replace(state, moves={**state.moves, vm.id: begun}, working={**state.working, vm.id: "migrate"})


def began(state: NodeAgentState, vm_id: int, error: str) -> NodeAgentState:
    """The hypervisor has begun, or said why it does not."""
    moving = state.moves.get(vm_id)
    if moving is None or not error:
        return state
    return replace(state, moves={**state.moves, vm_id: replace(moving, given_up=error)})


def written(state: NodeAgentState, now: float, vm_id: int, *, known: bool) -> NodeAgentState:
    """A write about a migration ended. `known`: it is in the database; else it may be. Either way: read, then judge."""
    writes = state.move_writes - {vm_id}
    return replace(
        state, move_writes=writes, move_written_at=now, desired_wanted=True, tell_wanted=state.tell_wanted or known
    )


def desired(state: NodeAgentState) -> NodeAgentState:
    """A new reading came: what migrates no more is forgotten."""
    under_way = {v.id for v in (state.desired or {}).values() if v.migrating_to is not None}
    if under_way.issuperset(state.moves):
        return state
    return replace(state, moves={k: m for k, m in state.moves.items() if k in under_way})


def listed(state: NodeAgentState, now: float) -> NodeAgentState:
    """New domains are dated by when their list came: they are not younger than that."""
    before = state.first_listed
    first = {}
    for fact in (state.domains or {}).values():
        known = before.get(fact.vm_id)
        first[fact.vm_id] = known if known is not None and known[0] == fact.generation else (fact.generation, now)
    return replace(state, first_listed=first)


def is_passenger(state: NodeAgentState, fact: DomainFact) -> bool:
    """True for a copy that stands still here and that a migration brings, as the database says."""
    vm = state.incoming.get(fact.vm_id)
    return vm is not None and fact.state is DomainState.PAUSED and fact.generation == vm.migration.generation


def may_be_passenger(state: NodeAgentState, fact: DomainFact) -> bool:
    """True for a copy that stands still and came after the database was read: the next reading tells what it is."""
    if fact.state is not DomainState.PAUSED:
        return False
    generation, since = state.first_listed.get(fact.vm_id, (fact.generation, 0.0))
    return generation == fact.generation and state.desired_at < since


def _unwanted(node: Node | None, vm: Vm, fact: DomainFact) -> str:
    if vm.migration.cancel:
        return vm.migration.cancel
    if not vm.wants_to_run:
        return "the VM is wanted off"
    if stops_vms(node):
        return "its node is being shut down"
    return "the VM was paused" if fact.state is DomainState.PAUSED else ""


def _watch(
    state: NodeAgentState,
    now: float,
    vm: Vm,
    job: MoveFact,
    moving: Moving,
    settings: NodeAgentSettings,
    actions: list[Action],
) -> NodeAgentState:
    if _progresses(job, moving):
        moving = replace(moving, least_mib=job.remaining_mib, memory_pass=job.memory_pass, progress_at=now)
    why = _give_up(state.node, now, vm, job, moving, settings)
    if why and now - moving.aborted_at >= _ABORT_REPEAT_SECONDS:
        actions.append(AbortMove(vm.id, vm.generation, why))
        moving = replace(moving, given_up=why, aborted_at=now)
        state = replace(state, working={**state.working, vm.id: "abort"})
    elif job.percent != moving.noted_percent and now - moving.noted_at >= settings.move_note_seconds:
        actions.append(NoteMove(vm.id, vm.generation, moving.passenger, job.percent))
        moving = replace(moving, noted_percent=job.percent, noted_at=now)
        state = replace(state, move_writes=state.move_writes | {vm.id})
    return replace(state, moves={**state.moves, vm.id: moving})


def _progresses(job: MoveFact, moving: Moving) -> bool:
    """A new pass counts: QEMU slows the guest's changes down pass by pass (auto-converge) until one is short enough."""
    if job.remaining_mib is None:
        return False
    return moving.least_mib is None or job.memory_pass != moving.memory_pass or job.remaining_mib < moving.least_mib


def _give_up(node: Node | None, now: float, vm: Vm, job: MoveFact, moving: Moving, settings: NodeAgentSettings) -> str:
    if vm.migration.cancel:
        return vm.migration.cancel
    if not vm.wants_to_run:
        return "the VM is wanted off"
    if stops_vms(node):
        return "its node is being shut down"
    left = f"{job.remaining_mib} MiB are left" if job.remaining_mib is not None else "nothing went over yet"
    if now - moving.progress_at >= settings.move_stall_seconds:
        target = vm.migrating_to
        why = f"the network to {target} is too slow" if moving.least_mib is not None else f"nothing reaches {target}"
        return f"no progress for {settings.move_stall_seconds:g} s, {left}: {why}"
    if now - moving.begun_at >= settings.move_seconds_max:
        return f"it took longer than {settings.move_seconds_max:g} s, {left}: too slow, or its guest changes more"
    return ""


def _end(state: NodeAgentState, vm: Vm, how: MoveEnd, error: str, actions: list[Action]) -> NodeAgentState:
    actions.append(EndMove(vm.id, vm.generation, vm.migration.generation, how, error))
    return replace(state, move_writes=state.move_writes | {vm.id})
