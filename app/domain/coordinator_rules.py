"""What a leading coordinator does about a view: each rule looks at the level and says what is missing.

A rule never repeats a write that is still in flight (`writing`), and every decision rests on a view that was
read after the last write ended.
"""

from app.domain import coordinator_storage as storage
from app.domain.actions import Action, CloseIncident, CommitPlan
from app.domain.cluster import ClusterView, Incident, IncidentPhase
from app.domain.coordinator_fencing import attend
from app.domain.coordinator_moves import decide_moves
from app.domain.coordinator_rolling import decide_rolling
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState, begin_write
from app.domain.recovery import plan_waiting
from app.domain.replace import replace
from app.domain.soft_fence import soften

#: the kinds of writes; a write in flight is known as "kind:node"
WRITES = frozenset(
    {"open", "cancel", "proof", "plan", "close", "note", "moves", "void", "hold", "release", "rolling", "class"}
)


def decide(state: CoordinatorState, now: float, settings: CoordinatorSettings) -> tuple[CoordinatorState, list[Action]]:
    """All that the present view asks for; nothing at all while an operator has disarmed the cluster."""
    actions: list[Action] = []
    if state.view is None or state.epoch is None:
        return state, actions
    if not state.view.settings.armed:
        # What devices said before is forgotten: on arming every proof is had anew.
        return replace(state, fences={}), actions
    view, current = state.view, state.view_current
    for node in view.nodes:
        state = soften(state, now, node, settings, actions)
        state = attend(state, now, node, settings, actions, current=current)
        if current and storage.may_have_it_back(node):
            state = storage.give_back(state, now, node, settings, actions)
    if current:
        state = _close_finished(state, view, actions)
        state = _place_waiting(state, actions)
        state = decide_moves(state, now, settings, actions)
        state = decide_rolling(state, settings, actions)
    return state, actions


def _close_finished(state: CoordinatorState, view: ClusterView, actions: list[Action]) -> CoordinatorState:
    assert state.epoch is not None
    for incident in view.incidents:
        if incident.phase is IncidentPhase.STARTING and _finished(view, incident):
            actions.append(CloseIncident(state.epoch, incident.node, incident.id))
            state = begin_write(state, "close", incident.node)
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
    return begin_write(state, "plan", "")
