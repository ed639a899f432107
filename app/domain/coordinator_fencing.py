"""What a leading coordinator does about one node that is lost: incident, fence, proof, plan; or its return.

Each rule looks at the level and says what is missing. What has been decided is in the incident's row, so a coordinator
that comes new to it goes on where it stands; only the attempts of the moment are in memory (`FenceProgress`).
What follows a proof is in `coordinator_proof`.

Invariants:
* no fence begins before the incident is written, and none at all while the storm guard holds;
* no power is cut before the node was absent for `blip_seconds`, until then its devices are only read; nor that of a
  member before its agent had its time to be started again (`soft_fence`);
"""

from app.domain import coordinator_heartbeat as heartbeat
from app.domain import coordinator_proof as proven
from app.domain import coordinator_storage as storage
from app.domain import first_look
from app.domain.actions import (
    Action,
    CancelIncident,
    EndQuarantine,
    HoldFence,
    NoteStep,
    OpenIncident,
)
from app.domain.cluster import Incident, Proof
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState, begin_write, keep_fence
from app.domain.events import FenceAttempted, FenceRead
from app.domain.fence_actions import Fence
from app.domain.fencing import (
    REFUSED,
    FenceProgress,
    distrusted,
    methods_due,
    proof_by_time,
    word_of_operator,
)
from app.domain.host_shutdown import excused
from app.domain.node import Node, NodeState
from app.domain.replace import replace
from app.domain.soft_fence import beyond_help, silent_seconds
from app.domain.storage_fencing import METHOD as STORAGE
from app.domain.storage_heartbeat import was_kept
from app.domain.storm_guard import HELD, storm


def attend(
    state: CoordinatorState,
    now: float,
    node: Node,
    settings: CoordinatorSettings,
    actions: list[Action],
    *,
    current: bool,
) -> CoordinatorState:
    """All that one node asks for. `current`: the view of this round was read after our last write had ended."""
    if _writing(state, node) or state.view is None or state.epoch is None:
        return state
    if current and _quarantine_over(state, node):
        actions.append(EndQuarantine(state.epoch, node.name))
        return begin_write(state, "release", node.name)
    absent, silent = state.absent_seconds(node.name, now), beyond_help(state, now, node, settings)
    if node.state is NodeState.ONLINE:
        if current and silent:
            actions.append(OpenIncident(state.epoch, node.name, silent_seconds(state, node.name, now), silent=True))
            return begin_write(keep_fence(state, node.name, FenceProgress()), "open", node.name)
        if current and absent is not None and not excused(state.view, node) and may_fence(state, now, node, settings):
            actions.append(OpenIncident(state.epoch, node.name, absent))
            return begin_write(keep_fence(state, node.name, FenceProgress()), "open", node.name)
        return heartbeat.note_storage(state, now, node, settings, actions) if current else state
    if node.state is not NodeState.LOST:
        return state
    incident = state.view.incident_of(node.name)
    if incident is None and current:
        actions.append(OpenIncident(state.epoch, node.name, absent or 0.0))
        return begin_write(state, "open", node.name)
    if incident is None:
        return state
    if incident.proof is None:
        return _fence(state, now, node, settings, actions, current=current)
    return proven.plan(state, now, node, settings, actions)


def fence_attempted(
    state: CoordinatorState, now: float, event: FenceAttempted, settings: CoordinatorSettings
) -> CoordinatorState:
    """A method ended: keep its proof, or when to try again.

    An attempt that began under another epoch, or that was forgotten since, proves nothing now: the node may have come
    and gone.
    """
    if event.epoch != state.epoch or event.node not in state.fences:
        return state
    after = state.fences[event.node].attempted(event.method, event.proof, now, settings.times)
    return keep_fence(state, event.node, replace(after, last_error=event.error))


def fence_read(state: CoordinatorState, event: FenceRead) -> CoordinatorState:
    """A device was read: for the first look, or against a proof. What cannot be read says nothing against the proof."""
    progress = state.fences.get(event.node)
    if event.epoch != state.epoch or progress is None:
        return state
    if progress.looking.get(event.method) == event.asked_at:
        return first_look.looked(state, event, progress)
    if (progress.reading, progress.reading_since) != (event.method, event.asked_at):
        return state
    lied = f"it reads on again ({event.said})" if event.off is False else progress.lied
    known = replace(progress, reading="", confirmed=progress.confirmed or event.off is True, lied=lied)
    return keep_fence(state, event.node, known)


def may_fence(state: CoordinatorState, now: float, node: Node, settings: CoordinatorSettings) -> bool:
    """A node that we never saw may still be booting: after a cold start it gets the grace."""
    return node.name in state.seen or now - state.quorate_since >= settings.startup_grace_seconds


def _quarantine_over(state: CoordinatorState, node: Node) -> bool:
    view = state.view
    over = node.quarantined_until is not None and view is not None and view.at is not None
    return over and view.at >= node.quarantined_until  # type: ignore[union-attr,operator]


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
    assert state.view is not None
    incident = state.view.incident_of(node.name)
    assert incident is not None
    progress = first_look.without_stale(state, node, state.fences.get(node.name, FenceProgress()))
    if progress.proof is not None and progress.proof.method in distrusted(incident):
        progress = replace(progress, proof=None, read_off_since=None)
    if node.name in state.fences:
        state = keep_fence(state, node.name, progress)
    absent = state.absent_seconds(node.name, now)
    if absent is not None:
        state, held = heartbeat.hold(state, now, node, incident, settings, actions, current=current)
        if held:
            return state
        current = current and not _writing(state, node)
    proof = progress.proof or _by_time(state, now, node, incident, settings) or _by_word(incident, absent)
    if proof is not None:
        state = heartbeat.end_keep(state, incident, f"proven off by {proof.method}")
        return proven.record(state, now, node, proof, settings, actions) if current else state
    if absent is None and not beyond_help(state, now, node, settings):
        return _returned(state, now, node, incident, progress, settings, actions, current=current)
    return _power(state, now, node, incident, settings, actions, current=current)


def _writing(state: CoordinatorState, node: Node) -> bool:
    """A write about it is in flight."""
    return any(key.endswith(f":{node.name}") for key in state.writing)


def _by_time(
    state: CoordinatorState, now: float, node: Node, incident: Incident, settings: CoordinatorSettings
) -> Proof | None:
    """Counts from when the node is absent and no lease lets its VMs run any more."""
    since = heartbeat.quiet_since(state, node, incident, settings)
    what = "its last lease over" if was_kept(incident) else "absent"
    return proof_by_time(now - since, node.watchdog_seconds, settings.times, what) if since is not None else None


def _by_word(incident: Incident, absent: float | None) -> Proof | None:
    """An operator's word counts only about a node that is not a member."""
    word = word_of_operator(incident)
    return Proof("operator", word) if word and absent is not None else None


def _returned(
    state: CoordinatorState,
    now: float,
    node: Node,
    incident: Incident,
    progress: FenceProgress,
    settings: CoordinatorSettings,
    actions: list[Action],
    *,
    current: bool,
) -> CoordinatorState:
    """The node is back, or was never away: it is let in once it has settled and its agent is there."""
    assert state.epoch is not None
    if current and word_of_operator(incident):
        actions.append(NoteStep(state.epoch, node.name, REFUSED, "the node is a member of the cluster: it is not dead"))
        return begin_write(state, "note", node.name)
    settled = now - state.present_since.get(node.name, now) >= settings.return_settle_seconds
    if current and settled and not progress.in_flight and node.name in state.group:
        if node.storage_cut:
            return storage.give_back(state, now, node, settings, actions)
        actions.append(CancelIncident(state.epoch, node.name))
        return begin_write(state, "cancel", node.name)
    return state


def _power(
    state: CoordinatorState,
    now: float,
    node: Node,
    incident: Incident,
    settings: CoordinatorSettings,
    actions: list[Action],
    *,
    current: bool,
) -> CoordinatorState:
    """Start what is due of the node's devices, unless the storm guard holds it."""
    levels, beside = _methods(state, settings, node, incident)
    state = first_look.look(state, now, node, levels, settings, actions)
    assert state.epoch is not None
    assert state.view is not None
    progress = state.fences.get(node.name, FenceProgress())
    since = state.surely_absent_since(node.name)
    if not progress.begun and since is not None and now - since < settings.blip_seconds:
        return first_look.note(state, node, incident, progress, settings, actions) if current else state
    if not progress.begun and (levels or beside):
        held = storm(state.view, _missing(state, now, settings))
        if held:
            if not current or any(s.what == HELD for s in incident.steps):
                return state
            actions.append(HoldFence(state.epoch, node.name, held))
            return begin_write(state, "hold", node.name)
    due = methods_due(progress, levels, beside, now)
    actions += [_attempt(state, node, m, settings) for m in due]
    progress = replace(progress, in_flight=progress.in_flight | set(due))
    if current and progress.last_error:
        if _worth_a_note(progress.failures):
            actions.append(NoteStep(state.epoch, node.name, "fence-failed", progress.last_error))
            state = begin_write(state, "note", node.name)
        progress = replace(progress, last_error="")
    return keep_fence(state, node.name, progress)


def _methods(
    state: CoordinatorState, settings: CoordinatorSettings, node: Node, incident: Incident
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The levels and the methods beside them that are still believed."""
    liars = distrusted(incident)
    levels = tuple(m for m in settings.fence_methods.get(node.name, ()) if m not in liars)
    away = node.name not in state.members  # one that is still a member is not planned on a storage proof
    by_storage = away and STORAGE not in liars and storage.pools_cut_for(state, node, settings)
    return levels, (STORAGE,) if by_storage else ()


def _attempt(state: CoordinatorState, node: Node, method: str, settings: CoordinatorSettings) -> Action:
    assert state.epoch is not None
    if method == STORAGE:
        return storage.cut(state, node, settings)
    return Fence(state.epoch, node.name, method, settings.times.attempt_timeout_seconds)


def _missing(state: CoordinatorState, now: float, settings: CoordinatorSettings) -> frozenset[str]:
    """Nodes that are absent, and no longer have the grace of a cold start."""
    assert state.view is not None
    return frozenset(
        n.name
        for n in state.view.nodes
        if state.absent_seconds(n.name, now) is not None and may_fence(state, now, n, settings)
    )


def _worth_a_note(failures: int) -> bool:
    """The first few, then fewer and fewer: a dead device must not fill the incident."""
    return failures <= 3 or failures & (failures - 1) == 0
