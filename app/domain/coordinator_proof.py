"""What a leading coordinator does with the proof that a node is dead: write it down, test it, plan on it.

Invariants:
* no plan is made on a proof while the node is a member, or while the device has not been read again (or cannot be);
* a proof that turns out to be false is void before anything else happens.
"""

from app.domain import coordinator_storage as storage
from app.domain.actions import Action, CommitPlan, RecordProof, VoidProof
from app.domain.cluster import Incident, Proof
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState, begin_write, keep_fence
from app.domain.fence_actions import ReadFence
from app.domain.fencing import FenceProgress
from app.domain.node import Node
from app.domain.recovery import plan_recovery
from app.domain.replace import replace
from app.domain.storage_fencing import METHOD as STORAGE


def record(
    state: CoordinatorState,
    now: float,
    node: Node,
    proof: Proof,
    settings: CoordinatorSettings,
    actions: list[Action],
) -> CoordinatorState:
    """Write the proof down, and read the device again meanwhile."""
    assert state.epoch is not None
    actions.append(RecordProof(state.epoch, node.name, proof))
    untested = {"proven_at": None, "reading": "", "read_due_at": now, "confirmed": False, "lied": ""}
    state = keep_fence(state, node.name, replace(state.fences.get(node.name, FenceProgress()), **untested))
    state = _read_again(state, now, node, proof.method, settings, actions)
    return begin_write(state, "proof", node.name)


def plan(
    state: CoordinatorState, now: float, node: Node, settings: CoordinatorSettings, actions: list[Action]
) -> CoordinatorState:
    """The proof is in the database: void it if it is false, else plan as soon as it has stood its test."""
    assert state.epoch is not None
    assert state.view is not None
    incident = state.view.incident_of(node.name)
    assert incident is not None
    assert incident.proof is not None
    epoch, view = state.epoch, state.view
    if not state.view_current:  # one plan a view: two plans on one view would promise the same memory twice
        return state
    state = _read_again(state, now, node, incident.proof.method, settings, actions)
    progress = state.fences[node.name]
    assert progress.proven_at is not None
    false = (
        progress.lied
        or _still_here(state, now, node, progress.proven_at, settings)
        or _unconfirmed(incident, now, progress, settings)
    )
    if false:
        actions.append(VoidProof(epoch, node.name, incident.proof.method, false))
        return begin_write(keep_fence(state, node.name, FenceProgress()), "void", node.name)
    waited = now - progress.proven_at > settings.confirm_seconds_max and incident.proof.method != STORAGE
    if node.name in state.members or not (progress.confirmed or waited):
        return state
    actions.append(CommitPlan(epoch, plan_recovery(view, node.name)))
    return begin_write(state, "plan", node.name)


def _read_again(
    state: CoordinatorState,
    now: float,
    node: Node,
    method: str,
    settings: CoordinatorSettings,
    actions: list[Action],
) -> CoordinatorState:
    assert state.epoch is not None
    progress = state.fences.get(node.name, FenceProgress())
    if progress.proven_at is None:
        progress = replace(progress, proven_at=now)
    if method not in (STORAGE, *settings.fence_methods.get(node.name, ())):
        progress = replace(progress, confirmed=True)
    elif not progress.reading and now >= progress.read_due_at:
        if method == STORAGE:
            actions.append(storage.read(state, now, node, settings))
        else:
            actions.append(ReadFence(state.epoch, node.name, method, settings.confirm_seconds_max, now))
        due = now + settings.times.retry_seconds
        progress = replace(progress, reading=method, reading_since=now, read_due_at=due)
    return keep_fence(state, node.name, progress)


def _unconfirmed(incident: Incident, now: float, progress: FenceProgress, settings: CoordinatorSettings) -> str:
    """Pools do not die with a node: what they do not say again, for as long as a fence may take, is not believed."""
    assert incident.proof is not None
    assert progress.proven_at is not None
    patience = settings.times.attempt_timeout_seconds
    if incident.proof.method != STORAGE or progress.confirmed or now - progress.proven_at <= patience:
        return ""
    return f"the pools have not confirmed it within {patience:g} s"


def _still_here(
    state: CoordinatorState, now: float, node: Node, proven_at: float, settings: CoordinatorSettings
) -> str:
    """Why a member cannot be dead: it came after its proof, or Corosync had the time to drop it and has not."""
    if node.name not in state.members:
        return ""
    if state.present_since.get(node.name, now) > proven_at:
        return "the node came back as a member of the cluster"
    if now - proven_at > settings.leave_seconds_max:
        return f"the node is a member of the cluster, {settings.leave_seconds_max:g} s after the proof"
    return ""
