"""What a leading coordinator does about a view: each rule looks at the level and says what is missing.

A rule never repeats a write that is still in flight (`writing`), and every decision rests on a view that was
read after the last write ended.
"""

from app.domain.actions import (
    Action,
    CancelIncident,
    CloseIncident,
    CommitPlan,
    Fence,
    NoteStep,
    OpenIncident,
    RecordProof,
)
from app.domain.cluster import ClusterView, Incident, IncidentPhase, Proof
from app.domain.coordinator_moves import decide_moves
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState
from app.domain.events import FenceAttempted
from app.domain.fencing import FenceProgress, methods_due, proof_by_time
from app.domain.host_shutdown import excused
from app.domain.node import Node, NodeState
from app.domain.recovery import plan_recovery, plan_waiting
from app.domain.replace import replace

#: the kinds of writes; a write in flight is known as "kind:node"
WRITES = frozenset({"open", "cancel", "proof", "plan", "close", "note", "moves"})


def decide(state: CoordinatorState, now: float, settings: CoordinatorSettings) -> tuple[CoordinatorState, list[Action]]:
    """All that the present view asks for."""
    actions: list[Action] = []
    if state.view is None or state.epoch is None:
        return state, actions
    view, current = state.view, state.view_current
    for node in view.nodes:
        state = _node(state, now, node, settings, actions, current=current)
    if current:
        state = _close_finished(state, view, actions)
        state = _place_waiting(state, actions)
        state = decide_moves(state, now, settings, actions)
    return state, actions


def fence_attempted(
    state: CoordinatorState, now: float, event: FenceAttempted, settings: CoordinatorSettings
) -> CoordinatorState:
    """A method ended: keep its proof, or when to try again.

    An attempt that began under another epoch proves nothing now: the node may have come and gone since.
    """
    if event.epoch != state.epoch:
        return state
    progress = state.fences.get(event.node, FenceProgress())
    after = progress.attempted(event.method, event.proof, now, settings.times)
    return replace(state, fences={**state.fences, event.node: replace(after, last_error=event.error)})


def _write(state: CoordinatorState, what: str, node: str) -> CoordinatorState:
    return replace(state, writing=state.writing | {f"{what}:{node}"})


def _node(
    state: CoordinatorState,
    now: float,
    node: Node,
    settings: CoordinatorSettings,
    actions: list[Action],
    *,
    current: bool,
) -> CoordinatorState:
    if any(key.endswith(f":{node.name}") for key in state.writing) or state.view is None or state.epoch is None:
        return state
    absent = state.absent_seconds(node.name, now)
    if node.state is NodeState.ONLINE:
        if current and absent is not None and not excused(state.view, node) and _may_fence(state, now, node, settings):
            actions.append(OpenIncident(state.epoch, node.name, absent))
            return _write(replace(state, fences={**state.fences, node.name: FenceProgress()}), "open", node.name)
        return state
    if node.state is not NodeState.LOST:
        return state
    incident = state.view.incident_of(node.name)
    if incident is None and current:
        actions.append(OpenIncident(state.epoch, node.name, absent or 0.0))
        return _write(state, "open", node.name)
    if incident is None:
        return state
    if incident.proof is None:
        return _fence(state, now, node, settings, actions, current=current)
    if not state.view_current:  # one plan a view: two plans on one view would promise the same memory twice
        return state
    actions.append(CommitPlan(state.epoch, plan_recovery(state.view, node.name)))
    return _write(state, "plan", node.name)


def _may_fence(state: CoordinatorState, now: float, node: Node, settings: CoordinatorSettings) -> bool:
    """A node that we never saw may still be booting: after a cold start it gets the grace."""
    return node.name in state.seen or now - state.quorate_since >= settings.startup_grace_seconds


def _fence(
    state: CoordinatorState,
    now: float,
    node: Node,
    settings: CoordinatorSettings,
    actions: list[Action],
    *,
    current: bool,
) -> CoordinatorState:
    assert state.epoch is not None
    progress = state.fences.get(node.name, FenceProgress())
    absent = state.absent_seconds(node.name, now)
    proof = progress.proof or (proof_by_time(absent, node.watchdog_seconds, settings.times) if absent else None)
    if proof is not None:
        if not current:
            return state
        return _record(state, node, proof, actions)
    if absent is None:
        settled = now - state.present_since.get(node.name, now) >= settings.return_settle_seconds
        if current and settled and not progress.in_flight and node.name in state.group:
            actions.append(CancelIncident(state.epoch, node.name))
            return _write(state, "cancel", node.name)
        return state
    due = methods_due(progress, settings.fence_methods.get(node.name, ()), now)
    actions += [Fence(state.epoch, node.name, m, settings.times.attempt_timeout_seconds) for m in due]
    progress = replace(progress, in_flight=progress.in_flight | set(due))
    if current and progress.last_error:
        if _worth_a_note(progress.failures):
            actions.append(NoteStep(state.epoch, node.name, "fence-failed", progress.last_error))
            state = _write(state, "note", node.name)
        progress = replace(progress, last_error="")
    return replace(state, fences={**state.fences, node.name: progress})


def _worth_a_note(failures: int) -> bool:
    """The first few, then fewer and fewer: a dead device must not fill the incident."""
    return failures <= 3 or failures & (failures - 1) == 0


def _record(state: CoordinatorState, node: Node, proof: Proof, actions: list[Action]) -> CoordinatorState:
    assert state.epoch is not None
    actions.append(RecordProof(state.epoch, node.name, proof))
    return _write(state, "proof", node.name)


def _close_finished(state: CoordinatorState, view: ClusterView, actions: list[Action]) -> CoordinatorState:
    assert state.epoch is not None
    for incident in view.incidents:
        if incident.phase is IncidentPhase.STARTING and _finished(view, incident):
            actions.append(CloseIncident(state.epoch, incident.node, incident.id))
            state = _write(state, "close", incident.node)
    return state


def _finished(view: ClusterView, incident: Incident) -> bool:
    """Every VM of this recovery is verified up, or nobody wants it up any more."""
    return all(v.verified or not v.wants_to_run for v in view.vms if v.incident_id == incident.id)


def _place_waiting(state: CoordinatorState, actions: list[Action]) -> CoordinatorState:
    if state.view is None or state.epoch is None or state.writing or state.planned_view is state.view:
        return state
    plan = plan_waiting(state.view)
    if plan.empty:
        return replace(state, planned_view=state.view)
    actions.append(CommitPlan(state.epoch, plan))
    return _write(state, "plan", "")
