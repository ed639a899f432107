"""The rules of `node_agent`, each a function of the level. See there for their order and the invariants."""

from app.domain import node_agent_ends as ends
from app.domain import node_agent_lease as lease
from app.domain import node_agent_leaving as leaving
from app.domain import node_agent_moves as moves
from app.domain.actions import (
    Action,
    DestroyVm,
    PauseVm,
    Rejoin,
    RemoveVm,
    ResetVm,
    ResumeVm,
    StartVm,
    StopVm,
)
from app.domain.events import UP, DomainFact, DomainState
from app.domain.host_shutdown import stops_vms
from app.domain.node import NodeState
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.policy import End, QuorumLoss
from app.domain.replace import replace
from app.domain.vm import Desired, StopMode, Vm, was_up


def guard_quorum(
    state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]
) -> NodeAgentState:
    """Without quorum: pause at once, destroy at the deadline; a VM's policy may say to destroy at once, or to keep it.

    After a start, long silence counts as no quorum. Under a lease they run on; it counts from its end.
    """
    if state.quorate or state.domains is None:
        return state
    if not state.quorum_known and now - state.quorum_lost_at < settings.first_word_seconds:
        return state
    if lease.holds(state, now, settings):
        return lease.run_on(state, now, settings, actions)
    if lease.waits_for_the_first(state, now, settings):
        return state
    lost_for = now - lease.alone_since(state, settings)
    for fact in state.domains.values():
        if fact.state not in UP or _held(state, fact.vm_id, now) or keeps(state, fact):
            continue
        if _stops_at_once(state, fact):
            state = _destroy(state, fact, "no quorum, and its policy is to stop", actions)
        elif lost_for >= settings.self_fence_seconds:
            state = _destroy(state, fact, "no quorum until the self-fence deadline", actions)
            state = replace(state, gave_up_at=now)
        elif fact.state is DomainState.RUNNING and fact.vm_id not in state.working:
            actions.append(PauseVm(fact.vm_id, fact.generation))
            state = _work(state, fact.vm_id, "pause")
    return state


def keeps(state: NodeAgentState, fact: DomainFact) -> bool:
    """True for a copy that runs on through an isolation: its volumes are here alone, and no plan moves it."""
    vm = (state.desired or {}).get(fact.vm_id)
    keep = vm is not None and vm.local and vm.ha.on_quorum_loss is QuorumLoss.KEEP
    return keep and vm is not None and vm.generation == fact.generation


def _stops_at_once(state: NodeAgentState, fact: DomainFact) -> bool:
    vm = (state.desired or {}).get(fact.vm_id)
    return vm is not None and vm.ha.on_quorum_loss is QuorumLoss.STOP


def destroy_stale(state: NodeAgentState, now: float, actions: list[Action]) -> NodeAgentState:
    """Destroy every copy that the database does not want here in this generation; on a node that was cast out, all
    but those that are kept: what waits for this node starts anew once it is let in.
    """
    if not state.quorate or state.domains is None or state.desired is None or not reading_is_new(state):
        return state
    for fact in state.domains.values():
        vm = state.desired.get(fact.vm_id)
        if vm is not None and vm.generation == fact.generation:
            if _cast_out(state) and not keeps(state, fact) and not _held(state, fact.vm_id, now):
                state = _destroy(state, fact, "this node was fenced", actions)
            continue
        if moves.is_passenger(state, fact):
            continue
        if moves.may_be_passenger(state, fact):
            state = replace(state, desired_wanted=True)
            continue
        if not _held(state, fact.vm_id, now):
            why = "not assigned to this node" if vm is None else f"stale, generation {vm.generation} is the valid one"
            state = _destroy(state, fact, why, actions)
    return state


def _cast_out(state: NodeAgentState) -> bool:
    return state.node is not None and state.node.state is NodeState.FENCED


def reconcile(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    """Make each VM of this node what the database wants it to be."""
    if not may_host(state, now, settings) or state.desired is None or state.domains is None:
        return state
    domains = state.domains
    order = sorted(state.desired.values(), key=lambda v: (-v.priority, v.id))
    for vm in order:
        if not _free(state, vm, now):
            continue
        leaves = vm.wants_to_run and stops_vms(state.node)
        rule = moves.away if vm.migrating_to is not None else leaving.leave if leaves else _one
        state = rule(state, now, vm, domains.get(vm.id), settings, actions)
    return state


def notice_ends(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> NodeAgentState:
    """Remember what ended by itself, and what runs well again."""
    if state.domains is None or state.desired is None or not reading_is_new(state):
        return state
    for fact in state.domains.values():
        vm = state.desired.get(fact.vm_id)
        if vm is not None and vm.wants_to_run and vm.generation == fact.generation and _free(state, vm, now):
            state = ends.notice(state, now, vm, fact, settings)
    return state


def may_host(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
    """True when this node may start and resume VMs: quorate, let in, and sure of both by young evidence."""
    return (
        state.quorate
        and ring_alive(state, now, settings)
        and reading_is_new(state)
        and now - state.desired_at <= settings.lease_seconds
        and state.node is not None
        and state.node.state is NodeState.ONLINE
        and state.domains is not None
        and state.domains_at >= state.quorate_at
    )


def ring_alive(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
    """A signal to ourselves went round the ring a moment ago."""
    return now - state.ring_alive_at <= settings.ring_silence_seconds


def reading_is_new(state: NodeAgentState) -> bool:
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
    if fact.state not in UP:
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
    if fact is None or fact.state not in UP:
        return _start(state, now, vm, settings, actions)
    ending = ends.open_ending(state, vm)
    if not state.armed and ending is not None:
        return state
    if ending is not None and (vm.resets_wanted <= resets_done(state, vm) or ending.kind is End.DISK_FAILED):
        return ends.act_on_what_is_left(state, vm, fact, settings, actions)
    if fact.state is DomainState.PANICKED:
        return _destroy(state, fact, "is reset after a panic", actions)
    if fact.paused_by == "io-error":
        return ends.resume_after_io_error(state, now, vm, settings, actions)
    not_after = state.desired_at + settings.lease_seconds
    if fact.state is DomainState.PAUSED:
        actions.append(ResumeVm(vm.id, vm.generation, not_after))
        return _work(state, vm.id, "resume")
    if vm.resets_wanted > resets_done(state, vm):
        actions.append(ResetVm(vm.id, vm.generation, vm.reset_mode, vm.correlation_id))
        return _work(state, vm.id, "reset")
    return state


def _start(
    state: NodeAgentState, now: float, vm: Vm, settings: NodeAgentSettings, actions: list[Action]
) -> NodeAgentState:
    trouble = state.trouble.get(vm.id)
    if trouble is not None and trouble.generation == vm.generation and now < trouble.retry_at:
        return state
    if not state.armed and was_up(vm):
        return state  # to start what went down by itself is automation, and that is frozen
    if ends.waits(state, now, vm, settings) or gated(state, now, vm, settings):
        return state
    promised = ends.leaves(state, vm) or (trouble is not None and trouble.failures >= settings.start_tries_max)
    if vm.given_up or (promised and (state.reporting or state.desired_at <= state.report_ended_at)):
        return state  # the coordinator may be moving it: `_seen` takes the promise back first
    if sum(1 for what in state.working.values() if what == "start") >= settings.starts_max:
        return state
    actions.append(StartVm(vm, state.desired_at + settings.lease_seconds))
    acpi = {k: v for k, v in state.acpi_at.items() if k != vm.id}
    return _work(replace(state, acpi_at=acpi), vm.id, "start")


def gated(state: NodeAgentState, now: float, vm: Vm, settings: NodeAgentSettings) -> str:
    """Why it must not start yet; empty when it may, or has waited long enough."""
    since = state.gated_since.get(vm.id, now)
    return state.gates.get(vm.id, "") if now - since < settings.gate_seconds_max else ""


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
    if mode is StopMode.HARD or fact.state is not DomainState.RUNNING:
        return _destroy(state, fact, "is wanted off", actions)
    if now - state.acpi_at.get(vm.id, now - settings.acpi_repeat_seconds) < settings.acpi_repeat_seconds:
        return state
    actions.append(StopVm(vm.id, fact.generation, mode, vm.correlation_id))
    return _work(replace(state, acpi_at={**state.acpi_at, vm.id: now}), vm.id, "stop")


def rejoin(state: NodeAgentState, now: float, actions: list[Action]) -> NodeAgentState:
    """A fenced node that came back asks to host again, once it runs nothing and forgot everything stale."""
    node, domains = state.node, state.domains
    if node is None or node.state is not NodeState.FENCED or state.rejoining or now < state.store_retry_at:
        return state
    if node.quarantined_until is not None or (node.cleaned and node.storage_cut):
        return state  # let in by time or an operator; its storage is given back by the coordinator
    idle = not state.working and not state.destroying
    clean = domains is not None and idle and all(keeps(state, fact) for fact in domains.values())
    if not (state.quorate and clean and reading_is_new(state) and state.domains_at >= state.desired_at):
        return state
    actions.append(Rejoin())
    return replace(state, rejoining=True)


def may_feed(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
    """Healthy: quorate and not cast out, or verified (after that began) that nothing runs here any more but what is
    kept: volumes that only this node reaches. Or the coordinator lets its VMs run on, by a lease that holds.

    An agent that has just started knows neither and does not feed: else each restart on a node that was cut off would
    be another timeout for VMs that others already count as gone.
    """
    if now < state.unsure_until:
        return False
    if state.quorate and not _cast_out(state) and ring_alive(state, now, settings):
        return True
    if lease.holds(state, now, settings):
        return True
    if state.domains is None or state.working or state.destroying:
        return False
    since = state.desired_at if state.quorate else state.quorum_lost_at
    return state.domains_at >= since and not any(d.state in UP and not keeps(state, d) for d in state.domains.values())


def in_a_hurry(state: NodeAgentState) -> bool:
    """True while something is expected to change soon: the domains are then listed more often."""
    if not state.quorate or state.working or state.destroying or state.moves or state.incoming:
        return True
    wanted = [v for v in (state.desired or {}).values() if v.wants_to_run]
    return any(not v.verified for v in wanted) or (state.node is not None and state.node.state is not NodeState.ONLINE)


def _held(state: NodeAgentState, vm_id: int, now: float) -> bool:
    """A destroy is in flight, or work failed a moment ago."""
    return vm_id in state.destroying or now < state.hold_until.get(vm_id, now)


def listed_since(state: NodeAgentState, vm_id: int) -> bool:
    """The domains were listed after the last work on this VM ended."""
    return state.domains_at >= state.touched_at.get(vm_id, state.domains_at)


def _free(state: NodeAgentState, vm: Vm, now: float) -> bool:
    """Nothing is being done to it, and what was listed of it is from after what was done."""
    return vm.id not in state.working and not _held(state, vm.id, now) and listed_since(state, vm.id)


def resets_done(state: NodeAgentState, vm: Vm) -> int:
    """How many resets were done. One that was asked for while the VM was off is done by its start."""
    known = max(state.resets.get(vm.id, 0), vm.observed.resets_done)
    return known if vm.seen_current else max(known, vm.resets_wanted)


def _work(state: NodeAgentState, vm_id: int, what: str) -> NodeAgentState:
    return replace(state, working={**state.working, vm_id: what})


def _destroy(state: NodeAgentState, fact: DomainFact, reason: str, actions: list[Action]) -> NodeAgentState:
    actions.append(DestroyVm(fact.vm_id, fact.generation, reason))
    return replace(state, destroying=state.destroying | {fact.vm_id})
