"""The rules of `node_agent`, each a function of the level. See there for their order and the invariants."""

from app.domain import node_agent_leaving as leaving
from app.domain import node_agent_moves as moves
from app.domain.actions import (
    Action,
    DestroyVm,
    PauseVm,
    Rejoin,
    RemoveVm,
    Report,
    ResetVm,
    ResumeVm,
    StartVm,
    StopVm,
    VmSeen,
)
from app.domain.events import DomainFact, DomainState, VmWorkDone
from app.domain.host_shutdown import stops_vms
from app.domain.node import NodeState
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState, Trouble
from app.domain.replace import replace
from app.domain.vm import Desired, PowerSeen, StopMode, Vm

_UP = (DomainState.RUNNING, DomainState.PAUSED)


def guard_quorum(
    state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]
) -> NodeAgentState:
    """Without quorum: pause at once, destroy at the deadline. After a start, long silence counts as no quorum."""
    if state.quorate or state.domains is None:
        return state
    lost_for = now - state.quorum_lost_at
    if not state.quorum_known and lost_for < settings.first_word_seconds:
        return state
    for fact in state.domains.values():
        if fact.state not in _UP or _held(state, fact.vm_id, now):
            continue
        if lost_for >= settings.self_fence_seconds:
            state = _destroy(state, fact, "no quorum until the self-fence deadline", actions)
        elif fact.state is DomainState.RUNNING and fact.vm_id not in state.working:
            actions.append(PauseVm(fact.vm_id, fact.generation))
            state = _work(state, fact.vm_id, "pause")
    return state


def destroy_stale(state: NodeAgentState, now: float, actions: list[Action]) -> NodeAgentState:
    """Destroy every copy that the database does not want here in this generation."""
    if not state.quorate or state.domains is None or state.desired is None or not _reading_is_new(state):
        return state
    for fact in state.domains.values():
        vm = state.desired.get(fact.vm_id)
        if vm is not None and vm.generation == fact.generation:
            continue
        if moves.is_passenger(state, fact):
            continue
        if moves.may_be_passenger(state, fact):
            state = replace(state, desired_wanted=True)
            continue
        if (vm is None or vm.generation != fact.generation) and not _held(state, fact.vm_id, now):
            why = "not assigned to this node" if vm is None else f"stale, generation {vm.generation} is the valid one"
            state = _destroy(state, fact, why, actions)
    return state


def reconcile(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    """Make each VM of this node what the database wants it to be."""
    if not may_host(state, now, settings) or state.desired is None or state.domains is None:
        return state
    domains = state.domains
    order = sorted(state.desired.values(), key=lambda v: (-v.priority, v.id))
    for vm in order:
        busy = vm.id in state.working or _held(state, vm.id, now) or not _listed_since(state, vm.id)
        if not busy and vm.migrating_to is None and vm.wants_to_run and stops_vms(state.node):
            state = leaving.leave(state, now, vm, domains.get(vm.id), settings, actions)
        elif not busy and vm.migrating_to is not None:
            state = moves.away(state, now, vm, domains.get(vm.id), settings, actions)
        elif not busy:
            state = _one(state, now, vm, domains.get(vm.id), settings, actions)
    return state


def may_host(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
    """True when this node may start and resume VMs: quorate, let in, and sure of both by young evidence."""
    return (
        state.quorate
        and ring_alive(state, now, settings)
        and _reading_is_new(state)
        and now - state.desired_at <= settings.lease_seconds
        and state.node is not None
        and state.node.state is NodeState.ONLINE
        and state.domains is not None
        and state.domains_at >= state.quorate_at
    )


def ring_alive(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
    """A signal to ourselves went round the ring a moment ago."""
    return now - state.ring_alive_at <= settings.ring_silence_seconds


def _reading_is_new(state: NodeAgentState) -> bool:
    """The database was read after quorum was gained: before, others may have decided about our VMs."""
    return state.desired_at >= state.quorate_at


def _one(
    state: NodeAgentState,
    now: float,
    vm: Vm,
    fact: DomainFact | None,
    settings: NodeAgentSettings,
    actions: list[Action],
) -> NodeAgentState:
    if vm.desired is Desired.DELETED:
        actions.append(RemoveVm(vm))
        return _work(state, vm.id, "remove")
    if vm.wants_to_run:
        return _wanted(state, now, vm, fact, settings, actions)
    if fact is None:
        return state
    if fact.state not in _UP:
        return _destroy(state, fact, "is off, as wanted", actions)
    return _stop(state, now, vm, fact, settings, actions)


def _wanted(
    state: NodeAgentState,
    now: float,
    vm: Vm,
    fact: DomainFact | None,
    settings: NodeAgentSettings,
    actions: list[Action],
) -> NodeAgentState:
    if fact is None or fact.state not in _UP:
        if fact is not None and _guest_shutdown(state, fact):
            return state  # reported first; the database then says what is wanted
        return _start(state, now, vm, settings, actions)
    not_after = state.desired_at + settings.lease_seconds
    if fact.state is DomainState.PAUSED:
        actions.append(ResumeVm(vm.id, vm.generation, not_after))
        return _work(state, vm.id, "resume")
    if vm.resets_wanted > _resets(state, vm):
        actions.append(ResetVm(vm.id, vm.generation, vm.reset_mode))
        return _work(state, vm.id, "reset")
    return state


def _start(
    state: NodeAgentState, now: float, vm: Vm, settings: NodeAgentSettings, actions: list[Action]
) -> NodeAgentState:
    trouble = state.trouble.get(vm.id)
    if trouble is not None and trouble.generation == vm.generation and now < trouble.retry_at:
        return state
    promised = trouble is not None and trouble.failures >= settings.start_tries_max
    if vm.given_up or (promised and (state.reporting or state.desired_at <= state.report_ended_at)):
        return state  # the coordinator may be moving it: `_seen` takes the promise back first
    if sum(1 for what in state.working.values() if what == "start") >= settings.starts_max:
        return state
    actions.append(StartVm(vm, state.desired_at + settings.lease_seconds))
    acpi = {k: v for k, v in state.acpi_at.items() if k != vm.id}
    return _work(replace(state, acpi_at=acpi), vm.id, "start")


def _stop(
    state: NodeAgentState,
    now: float,
    vm: Vm,
    fact: DomainFact,
    settings: NodeAgentSettings,
    actions: list[Action],
) -> NodeAgentState:
    # A suspended VM (locked) is stopped hard: its guest has no say in it.
    mode = StopMode.HARD if vm.locked else vm.stop_mode
    if mode is StopMode.HARD or fact.state is DomainState.PAUSED:
        return _destroy(state, fact, "is wanted off", actions)
    if now - state.acpi_at.get(vm.id, now - settings.acpi_repeat_seconds) < settings.acpi_repeat_seconds:
        return state
    actions.append(StopVm(vm.id, fact.generation, mode))
    return _work(replace(state, acpi_at={**state.acpi_at, vm.id: now}), vm.id, "stop")


def rejoin(state: NodeAgentState, now: float, actions: list[Action]) -> NodeAgentState:
    """A fenced node that came back asks to host again, once it runs nothing and forgot everything stale."""
    node, domains = state.node, state.domains
    if node is None or node.state is not NodeState.FENCED or state.rejoining or now < state.store_retry_at:
        return state
    clean = domains is not None and not domains and not state.working and not state.destroying
    if not (state.quorate and clean and _reading_is_new(state) and state.domains_at >= state.desired_at):
        return state
    actions.append(Rejoin())
    return replace(state, rejoining=True)


def report(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    """Tell the database what differs from what it knows; the first report also brings this node's own facts."""
    ready = state.quorate and state.desired is not None and _reading_is_new(state) and state.report_due
    if not ready or state.reporting or now < state.store_retry_at:
        return state
    assert state.desired is not None
    seen = tuple(s for v in state.desired.values() if (s := _seen(state, now, v, settings)) and _is_news(v, s))
    if not seen and state.report_confirmed and state.reported_health == state.health:
        return state
    actions.append(Report(seen, state.health))
    return replace(state, reporting=True, report_due=False, reported_health=state.health)


def _seen(state: NodeAgentState, now: float, vm: Vm, settings: NodeAgentSettings) -> VmSeen | None:
    """What this node sees of the VM; None while it cannot tell.

    FAILED is a promise: it is not started here until that is taken back, by STARTING, and read as taken back.
    """
    if state.domains is None or vm.id in state.destroying or not _listed_since(state, vm.id):
        return None
    fact = state.domains.get(vm.id)
    if fact is not None and fact.generation != vm.generation:
        return None
    resets = _resets(state, vm)
    if vm.migrating_to is not None and (fact is None or fact.state not in _UP):
        return None  # how the migration ended is written first
    if fact is not None and fact.state in _UP:
        power = PowerSeen.RUNNING if fact.state is DomainState.RUNNING else PowerSeen.PAUSED
        alive = power is PowerSeen.RUNNING and fact.guest_alive is not False
        return VmSeen(vm.id, vm.generation, power, verified=alive, resets_done=resets)
    if state.working.get(vm.id) == "start":
        return VmSeen(vm.id, vm.generation, PowerSeen.STARTING, resets_done=resets)
    trouble = state.trouble.get(vm.id)
    if vm.wants_to_run and trouble is not None and trouble.generation == vm.generation:
        final = trouble.failures >= settings.start_tries_max and now < trouble.retry_at
        power = PowerSeen.FAILED if final else PowerSeen.STARTING
        return VmSeen(vm.id, vm.generation, power, error=trouble.error, resets_done=resets)
    by_guest = vm.wants_to_run and fact is not None and _guest_shutdown(state, fact)
    return VmSeen(vm.id, vm.generation, PowerSeen.OFF, guest_shutdown=by_guest, resets_done=resets)


def _is_news(vm: Vm, seen: VmSeen) -> bool:
    known = vm.observed
    same_placement = known.generation == seen.generation and known.node == (vm.node or "")
    return (
        not same_placement
        or known.power is not seen.power
        or (seen.verified and known.verified_at is None)
        or known.error != seen.error
        or known.resets_done != seen.resets_done
        or seen.guest_shutdown
    )


def may_feed(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
    """Healthy: quorate and not cast out, or verified (after that began) that nothing runs here any more.

    An agent that has just started knows neither and does not feed: else each restart on a node that was cut off would
    be another timeout for VMs that others already count as gone.
    """
    if now < state.unsure_until:
        return False
    cast_out = state.node is not None and state.node.state is NodeState.FENCED
    if state.quorate and not cast_out and ring_alive(state, now, settings):
        return True
    if state.domains is None or state.working or state.destroying:
        return False
    since = state.desired_at if state.quorate else state.quorum_lost_at
    return state.domains_at >= since and not any(d.state in _UP for d in state.domains.values())


def in_a_hurry(state: NodeAgentState) -> bool:
    """True while something is expected to change soon: the domains are then listed more often."""
    if not state.quorate or state.working or state.destroying or state.moves or state.incoming:
        return True
    wanted = [v for v in (state.desired or {}).values() if v.wants_to_run]
    return any(not v.verified for v in wanted) or (state.node is not None and state.node.state is not NodeState.ONLINE)


def work_done(state: NodeAgentState, now: float, event: VmWorkDone, settings: NodeAgentSettings) -> NodeAgentState:
    """A piece of work ended: look again. A start that failed is tried again after a pause that doubles."""
    working = {k: v for k, v in state.working.items() if k != event.vm_id or v != event.work}
    destroying = state.destroying - ({event.vm_id} if event.work == "destroy" else set())
    hold = {k: v for k, v in state.hold_until.items() if k != event.vm_id}
    if event.error:
        hold[event.vm_id] = now + settings.work_retry_seconds
    touched = {**state.touched_at, event.vm_id: now}
    state = replace(
        state, working=working, destroying=destroying, hold_until=hold, touched_at=touched, domains_wanted=True
    )
    if event.work == "remove":
        return replace(state, desired_wanted=True)
    if event.work == "migrate":
        return moves.began(state, event.vm_id, event.error)
    if event.work == "reset" and not event.error:
        vm = (state.desired or {}).get(event.vm_id)
        return replace(state, resets={**state.resets, event.vm_id: vm.resets_wanted if vm else 0})
    if event.work != "start":
        return state
    trouble = dict(state.trouble)
    before = trouble.pop(event.vm_id, None)
    if event.error:
        failures = before.failures + 1 if before is not None and before.generation == event.generation else 1
        pause = settings.start_retry_seconds * min(2 ** (failures - 1), 16)
        trouble[event.vm_id] = Trouble(event.generation, failures, now + pause, event.error)
    return replace(state, trouble=trouble)


def _held(state: NodeAgentState, vm_id: int, now: float) -> bool:
    """A destroy is in flight, or work failed a moment ago."""
    return vm_id in state.destroying or now < state.hold_until.get(vm_id, now)


def _listed_since(state: NodeAgentState, vm_id: int) -> bool:
    """The domains were listed after the last work on this VM ended."""
    return state.domains_at >= state.touched_at.get(vm_id, state.domains_at)


def _guest_shutdown(state: NodeAgentState, fact: DomainFact) -> bool:
    """The guest switched itself off: it says so, and nobody had pressed its button."""
    return fact.ended == "shutdown" and fact.vm_id not in state.acpi_at


def _resets(state: NodeAgentState, vm: Vm) -> int:
    """How many resets were done. One that was asked for while the VM was off is done by its start."""
    known = max(state.resets.get(vm.id, 0), vm.observed.resets_done)
    return known if vm.seen_current else max(known, vm.resets_wanted)


def _work(state: NodeAgentState, vm_id: int, what: str) -> NodeAgentState:
    return replace(state, working={**state.working, vm_id: what})


def _destroy(state: NodeAgentState, fact: DomainFact, reason: str, actions: list[Action]) -> NodeAgentState:
    actions.append(DestroyVm(fact.vm_id, fact.generation, reason))
    return replace(state, destroying=state.destroying | {fact.vm_id})
