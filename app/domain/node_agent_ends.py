"""A VM that ends by itself: its QEMU died, its guest switched itself off, panicked or hangs, its disk failed.

An end is read from the level, told to the database first, and acted on when the reading shows that it was told: the
database then says what is wanted (the policy `stop` is written there), and each end counts once whatever dies
in between. A restart waits longer each time. After `RESTARTS_IN_PLACE` in a row the VM is given up here, so that the
coordinator moves it; where it ends again, or where there is nowhere else, it is restarted there for ever, slowly.
"""

from app.domain.actions import Action, DestroyVm, ResumeVm
from app.domain.events import DomainFact, DomainState
from app.domain.node_agent_state import Ending, NodeAgentSettings, NodeAgentState, Resume
from app.domain.policy import END_WORDS, RESTARTS_IN_PLACE, AfterEnd, AfterIoError, End
from app.domain.replace import replace
from app.domain.vm import Vm


def end_of(state: NodeAgentState, now: float, vm: Vm, fact: DomainFact, settings: NodeAgentSettings) -> End | None:
    """How this domain has ended, by the level; None when it has not, or when we ended it."""
    limit = vm.ha.guest_silence_seconds
    match fact.state:
        case DomainState.PANICKED:
            return End.PANICKED
        case DomainState.SHUTOFF if fact.ended == "crashed":
            return End.CRASHED
        case DomainState.SHUTOFF if fact.ended == "shutdown" and vm.id not in state.acpi_at:
            return End.SHUTDOWN
        case DomainState.PAUSED if fact.paused_by == "watchdog":
            return End.HUNG
        case DomainState.PAUSED if _is_resumed_in_vain(state, now, vm, fact, settings):
            return End.DISK_FAILED
        case DomainState.RUNNING if limit > 0 and fact.silent_seconds is not None and fact.silent_seconds >= limit:
            return End.HUNG
    return None


def notice(state: NodeAgentState, now: float, vm: Vm, fact: DomainFact, settings: NodeAgentSettings) -> NodeAgentState:
    """Remember a new end; forget one after which the VM runs well."""
    known = _known(state, now, vm)
    kind = end_of(state, now, vm, fact, settings)
    if kind is None:
        well = _well(known, now, fact, settings)
        return state if well is state.endings.get(vm.id) else _with(state, vm.id, well)
    if known is not None and known.open and known.generation == vm.generation:
        return state
    # Whatever follows, its next failure is another one.
    state = replace(state, resumes={k: v for k, v in state.resumes.items() if k != vm.id})
    if vm.id not in state.endings and vm.seen_current and vm.observed.ended == kind:
        # Our predecessor told of it and did not come to act on it.
        told = vm.observed
        return _with(state, vm.id, Ending(vm.generation, kind, told.ends, told.ends_in_a_row, now))
    number = max(known.number if known else 0, vm.observed.ends) + 1
    row = (known.in_a_row if known else vm.observed.ends_in_a_row) + 1
    return _with(state, vm.id, Ending(vm.generation, kind, number, row, now))


def _known(state: NodeAgentState, now: float, vm: Vm) -> Ending | None:
    """What we remember of this VM's ends; of those before our time what the database says."""
    known = state.endings.get(vm.id)
    if known is None and vm.observed.ends_in_a_row:
        seen = vm.observed
        return Ending(vm.generation, End.CRASHED, seen.ends, seen.ends_in_a_row, now, open=False)
    return known


def _well(known: Ending | None, now: float, fact: DomainFact, settings: NodeAgentSettings) -> Ending | None:
    if known is None or fact.state is not DomainState.RUNNING:
        return known
    if known.open:
        return replace(known, open=False, since=now)
    if known.in_a_row and now - known.since >= settings.well_seconds:
        return replace(known, in_a_row=0)
    return known


def _with(state: NodeAgentState, vm_id: int, ending: Ending | None) -> NodeAgentState:
    if ending is None:
        return state
    return replace(state, endings={**state.endings, vm_id: ending})


def restarted(state: NodeAgentState, now: float, vm_id: int) -> NodeAgentState:
    """It was started: the next end is another one, also when nobody sees it run before."""
    ending = state.endings.get(vm_id)
    return state if ending is None else _with(state, vm_id, replace(ending, open=False, since=now))


def open_ending(state: NodeAgentState, vm: Vm) -> Ending | None:
    """The end of this placement that was not followed by running well."""
    ending = state.endings.get(vm.id)
    return ending if ending is not None and ending.open and ending.generation == vm.generation else None


def told(vm: Vm, ending: Ending) -> bool:
    """The database knows of it, and what it wants now is its answer."""
    return vm.seen_current and vm.observed.ends >= ending.number


def pause_seconds(ending: Ending, settings: NodeAgentSettings) -> float:
    """How long its restart waits: not at all the first time in a row."""
    if ending.in_a_row <= 1:
        return 0.0
    return min(settings.end_retry_seconds * 2.0 ** min(ending.in_a_row - 2, 16), settings.end_retry_seconds_max)


def waits(state: NodeAgentState, now: float, vm: Vm, settings: NodeAgentSettings) -> bool:
    """True while a VM that ended is not restarted yet."""
    ending = open_ending(state, vm)
    return ending is not None and (not told(vm, ending) or now - ending.since < pause_seconds(ending, settings))


def leaves(state: NodeAgentState, vm: Vm) -> bool:
    """It ended too often here in a row: somewhere else may be better, once."""
    ending = open_ending(state, vm)
    return ending is not None and ending.in_a_row == RESTARTS_IN_PLACE + 1


def words(state: NodeAgentState, vm: Vm) -> str:
    """The end for an operator, where it is more than a restart at once."""
    ending = open_ending(state, vm)
    if ending is None or not (ending.in_a_row > 1 or vm.ha.after(ending.kind) is AfterEnd.IGNORE):
        return ""
    again = f", {ending.in_a_row} times in a row" if ending.in_a_row > 1 else ""
    return f"{END_WORDS[ending.kind]}{again}"


def act_on_what_is_left(
    state: NodeAgentState, vm: Vm, fact: DomainFact, settings: NodeAgentSettings, actions: list[Action]
) -> NodeAgentState:
    """A guest that panicked or hangs still holds its disks: its QEMU goes, and the restart follows; or it is left."""
    ending = open_ending(state, vm)
    if ending is None or not told(vm, ending):
        return state
    if vm.ha.after(ending.kind) is AfterEnd.IGNORE:
        if fact.state is not DomainState.PAUSED:
            return state
        actions.append(ResumeVm(vm.id, vm.generation, state.desired_at + settings.lease_seconds))
        return replace(state, working={**state.working, vm.id: "resume"})
    actions.append(DestroyVm(vm.id, fact.generation, END_WORDS[ending.kind]))
    return replace(state, destroying=state.destroying | {vm.id})


def resume_after_io_error(
    state: NodeAgentState, now: float, vm: Vm, settings: NodeAgentSettings, actions: list[Action]
) -> NodeAgentState:
    """QEMU keeps the request that failed and tries it again when the VM is resumed: not while its pool is unwell."""
    before = state.resumes.get(vm.id)
    if before is None or now - before.next_at > settings.io_retry_seconds_max:
        first = Resume(0, now + settings.io_retry_seconds)
        return replace(state, resumes={**state.resumes, vm.id: first})
    if vm.ha.on_io_error is AfterIoError.KEEP or now < before.next_at or _pool_is_unwell(state, vm.pool):
        return state
    pause = min(settings.io_retry_seconds * 2.0 ** min(before.tries + 1, 16), settings.io_retry_seconds_max)
    actions.append(ResumeVm(vm.id, vm.generation, state.desired_at + settings.lease_seconds))
    tries = {**state.resumes, vm.id: Resume(before.tries + 1, now + pause)}
    return replace(state, resumes=tries, working={**state.working, vm.id: "resume"})


def _is_resumed_in_vain(
    state: NodeAgentState, now: float, vm: Vm, fact: DomainFact, settings: NodeAgentSettings
) -> bool:
    """Not for want of space: that ends when somebody makes room, and then the request that QEMU kept succeeds."""
    tried = state.resumes.get(vm.id)
    if fact.paused_by != "io-error" or tried is None or tried.tries < settings.io_tries_max:
        return False
    kept = vm.ha.on_io_error is AfterIoError.KEEP
    due = 0 <= now - tried.next_at <= settings.io_retry_seconds_max  # later, it is not the same failure any more
    return due and fact.no_space is False and not kept and not _pool_is_unwell(state, vm.pool)


def io_words(vm: Vm) -> str:
    """Why it is paused, for an operator."""
    what = "is resumed when that is well" if vm.ha.on_io_error is AfterIoError.RESUME else "is kept as it is"
    return f"an I/O error of its disk in pool {vm.pool} paused it; it {what}"


def _pool_is_unwell(state: NodeAgentState, pool: str) -> bool:
    name = f"pool {pool}"
    return any(p == name or p.startswith((f"{name}:", f"{name} ")) for p in state.problems)
