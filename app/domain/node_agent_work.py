"""What the end of a piece of work on a VM means for its agent."""

from app.domain import node_agent_ends as ends
from app.domain import node_agent_moves as moves
from app.domain.events import VmWorkDone
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState, Trouble
from app.domain.replace import replace


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
    return ends.restarted(replace(state, trouble=trouble), now, event.vm_id)
