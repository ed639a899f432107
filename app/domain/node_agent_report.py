"""What an agent tells the database of its node: what it sees of each VM, and its health."""

from app.domain import node_agent_ends as ends
from app.domain import node_agent_rules as rules
from app.domain.actions import Action, Report, VmSeen
from app.domain.events import UP, DomainState
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.replace import replace
from app.domain.vm import FROZEN, PowerSeen, Vm, was_up


def report(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    """Tell the database what differs from what it knows; the first report also brings this node's own facts."""
    ready = state.quorate and state.desired is not None and rules.reading_is_new(state) and state.report_due
    if not ready or state.reporting or now < state.store_retry_at:
        return state
    assert state.desired is not None
    seen = tuple(s for v in state.desired.values() if (s := _seen(state, now, v, settings)) and _is_news(v, s))
    moved = state.node is not None and state.database not in (None, state.node.database)
    if not seen and state.report_confirmed and state.reported_health == state.health and not moved:
        return state
    actions.append(Report(seen, state.health, state.database))
    return replace(state, reporting=True, report_due=False, reported_health=state.health)


def _seen(state: NodeAgentState, now: float, vm: Vm, settings: NodeAgentSettings) -> VmSeen | None:
    """What this node sees of the VM; None while it cannot tell.

    FAILED is a promise: it is not started here until that is taken back, by STARTING, and read as taken back.
    """
    if state.domains is None or vm.id in state.destroying or not rules.listed_since(state, vm.id):
        return None
    fact = state.domains.get(vm.id)
    if fact is not None and fact.generation != vm.generation:
        return None
    if vm.migrating_to is not None and (fact is None or fact.state not in UP):
        return None  # how the migration ended is written first
    ending, last = ends.open_ending(state, vm), state.endings.get(vm.id)
    seen = VmSeen(
        vm.id, vm.generation, PowerSeen.OFF, error=ends.words(state, vm), resets_done=rules.resets_done(state, vm),
        ended=ending.kind if ending and vm.wants_to_run else "",
        ends=max(last.number if last else 0, vm.observed.ends),
        ends_in_a_row=last.in_a_row if last else vm.observed.ends_in_a_row,
    )  # fmt: skip
    if fact is not None and fact.state in UP:
        power = PowerSeen.RUNNING if fact.state is DomainState.RUNNING else PowerSeen.PAUSED
        alive = power is PowerSeen.RUNNING and fact.guest_alive is not False and not seen.ended
        error = ends.io_words(vm) if fact.paused_by == "io-error" else seen.error
        return replace(seen, power=power, verified=alive, error=error)
    if state.working.get(vm.id) == "start":
        return replace(seen, power=PowerSeen.STARTING)
    if not state.armed and vm.wants_to_run and was_up(vm):
        return replace(seen, error=FROZEN)
    trouble = state.trouble.get(vm.id)
    if vm.wants_to_run and trouble is not None and trouble.generation == vm.generation:
        final = trouble.failures >= settings.start_tries_max and now < trouble.retry_at
        power = PowerSeen.FAILED if final else PowerSeen.STARTING
        tried_long = trouble.failures >= settings.start_tries_long
        return replace(seen, power=power, error=trouble.error, tried_long=tried_long)
    if vm.wants_to_run and ending is not None and ends.told(vm, ending):
        final = ends.leaves(state, vm) and ends.waits(state, now, vm, settings)
        return replace(seen, power=PowerSeen.FAILED if final else PowerSeen.STARTING)
    return replace(seen, error=rules.gated(state, now, vm, settings)) if vm.wants_to_run and not seen.error else seen


def _is_news(vm: Vm, seen: VmSeen) -> bool:
    known = vm.observed
    same_placement = known.generation == seen.generation and known.node == (vm.node or "")
    return (
        not same_placement
        or known.power is not seen.power
        or (seen.verified and known.verified_at is None)
        or (known.error, known.resets_done) != (seen.error, seen.resets_done)
        or (seen.tried_long and vm.failed_nodes != ())
        or (known.ended, known.ends, known.ends_in_a_row) != (seen.ended, seen.ends, seen.ends_in_a_row)
    )
