"""What the agent does with its VMs while its node is being shut down (`host_shutdown`): stop them, and give them up."""

from app.domain.actions import Action, DestroyVm, ReleaseVm, StopVm
from app.domain.events import DomainFact, DomainState
from app.domain.host_shutdown import ShutdownPolicy
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.replace import replace
from app.domain.vm import StopMode, Vm


def leave(
    state: NodeAgentState,
    now: float,
    vm: Vm,
    fact: DomainFact | None,
    settings: NodeAgentSettings,
    actions: list[Action],
) -> NodeAgentState:
    """One VM that should run, on a node that stops its VMs. Asked by its power button first, then destroyed."""
    if fact is None:
        return _release(state, vm, actions)
    if fact.state is DomainState.RUNNING:
        pressed = state.leaving_at.get(vm.id)
        if pressed is None:
            actions.append(StopVm(vm.id, fact.generation, StopMode.ACPI))
            return replace(
                state, leaving_at={**state.leaving_at, vm.id: now}, acpi_at={**state.acpi_at, vm.id: now},
                working={**state.working, vm.id: "stop"},
            )  # fmt: skip
        if now - pressed < settings.leave_stop_seconds:
            return state
    # It is off, paused, or does not heed its button: this also forgets its definition, so that nothing is left of it.
    actions.append(DestroyVm(vm.id, fact.generation, "its node is being shut down"))
    return replace(state, destroying=state.destroying | {vm.id})


def _release(state: NodeAgentState, vm: Vm, actions: list[Action]) -> NodeAgentState:
    """Nothing of it is here. A frozen VM stays this node's, and so does one whose disk is here alone."""
    if vm.local or state.node is None or state.node.leaving != ShutdownPolicy.RESTART_ELSEWHERE:
        return state
    if vm.id in state.move_writes or state.desired_at <= state.move_written_at:
        return state
    actions.append(ReleaseVm(vm.id, vm.generation))
    return replace(state, move_writes=state.move_writes | {vm.id})
