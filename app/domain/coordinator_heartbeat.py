"""The leading coordinator and the heartbeat over storage: what a node is, and whether its VMs may run on.

The theory is in `storage_heartbeat`. Each rule looks at the level; what was decided is in the incident, so a new
coordinator goes on with it.

Invariants:
* a keep is decided on only in a view of our own epoch that is young and shows ISOLATED in the open incident, no proof;
* once a keep has ended for an incident, no other follows in it: that comes before any fence and before any proof.
"""

from datetime import timedelta

from app.domain.actions import Action, NoteStep
from app.domain.cluster import Incident
from app.domain.cluster_settings import AfterKeep
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState, begin_write
from app.domain.events import BeatsRead, HeartbeatFailed, KeepsWritten
from app.domain.fencing import REFUSED, word_of_operator
from app.domain.heartbeat_actions import NoteClass, ReadBeats, WriteKeeps
from app.domain.node import Node, NodeRole, NodeState
from app.domain.replace import replace
from app.domain.soft_fence import silent_seconds
from app.domain.storage_heartbeat import (
    KEEP_ENDED,
    BeatMemory,
    HeartbeatTimes,
    Keep,
    NodeClass,
    Seen,
    classify,
    last_word,
    was_kept,
)

#: what an operator reads
WORDS = {
    NodeClass.FAILED: "Corosync lost it, and its heartbeat on the storage stands still",
    NodeClass.ISOLATED: "its VMs run on, its management network is lost: its heartbeat on the storage goes on",
    NodeClass.STORAGE_LOST: "Corosync sees it, and it does not reach the storage",
    NodeClass.WELL: "its heartbeat on the storage goes on",
}


def take_in(
    state: CoordinatorState,
    now: float,
    event: BeatsRead | KeepsWritten | HeartbeatFailed,
    settings: CoordinatorSettings,
) -> CoordinatorState:
    """A reading or a writing ended."""
    memory, times = state.beats, settings.heartbeat
    match event:
        case BeatsRead() if times is not None and event.asked_at == memory.asked_at:
            return replace(state, beats=_read(state, now, event, times))
        case KeepsWritten(epoch) if epoch == state.epoch:
            durable_at = now if memory.durable_at is None else memory.durable_at
            return replace(state, beats=replace(memory, writing=False, durable_at=durable_at))
        case HeartbeatFailed("beats"):
            return replace(state, beats=replace(memory, asked_at=None))
        case HeartbeatFailed("keeps"):
            return replace(state, beats=replace(memory, writing=False))
        case _:
            return state


def _read(state: CoordinatorState, now: float, event: BeatsRead, times: HeartbeatTimes) -> BeatMemory:
    """What is young in it is judged by our own beat: it was written by the clock that we look at."""
    memory, seen = state.beats, dict(state.beats.seen)
    for beat in event.beats:
        known = seen.get(beat.node)
        seen[beat.node] = Seen(beat, event.asked_at) if known is None else known.again(beat, event.asked_at)
    own = next((b for b in event.beats if b.node == state.me), None)
    young = own is not None and own.boot == event.boot and 0 <= now - own.counter / 1000 <= times.silence_seconds
    memory = replace(memory, seen=seen, asked_at=None, answered=True)
    if not young:
        return memory
    gap = event.asked_at - memory.fresh_at > 2 * times.beat_seconds
    since = event.asked_at if gap else memory.watched_since
    return replace(memory, fresh_at=event.asked_at, watched_since=since)


def hold(
    state: CoordinatorState,
    now: float,
    node: Node,
    incident: Incident,
    settings: CoordinatorSettings,
    actions: list[Action],
    *,
    current: bool,
) -> tuple[CoordinatorState, bool]:
    """What both heartbeats say of an absent node without a proof. True: nothing else is done about it in this round."""
    if settings.heartbeat is None:
        return state, False
    kept, cls = was_kept(incident), _class(state, now, node, settings.heartbeat)
    why = state.beats.ended.get(incident.id, "")
    progress = state.fences.get(node.name)
    fenced = bool(node.storage_cut) or (progress is not None and (progress.begun or progress.proof is not None))
    if not fenced and not _ended(state, incident):
        why = _why_not(state, node, incident, cls)
        if not why:
            return _isolated(state, node, incident, actions, kept=kept, current=current)
        if cls is None and kept and now < _lease_over_at(state, node.name, settings.heartbeat):
            return state, True
    if kept or cls is NodeClass.FAILED:
        why = why or "its power is being cut"
        return _kept_no_more(state, node, incident, cls, why, actions, current=current), False
    return state, False


def _ended(state: CoordinatorState, incident: Incident) -> bool:
    """True when the keep of this incident is over for good."""
    over = was_kept(incident) and last_word(incident) != NodeClass.ISOLATED
    return over or incident.id in state.beats.ended


def _class(state: CoordinatorState, now: float, node: Node, times: HeartbeatTimes) -> NodeClass | None:
    return classify(node.name, state.beats, state.absent_since.get(node.name), now, times)


def _isolated(
    state: CoordinatorState, node: Node, incident: Incident, actions: list[Action], *, kept: bool, current: bool
) -> tuple[CoordinatorState, bool]:
    """It runs on: write that down first, the keeps follow (`keep_beats`)."""
    assert state.epoch is not None
    if current and not kept:
        actions.append(NoteClass(state.epoch, node.name, NodeClass.ISOLATED, WORDS[NodeClass.ISOLATED]))
        return begin_write(state, "class", node.name), True
    if current and word_of_operator(incident):
        why = "its heartbeat on the storage goes on: the node is not dead, its VMs run"
        actions.append(NoteStep(state.epoch, node.name, REFUSED, why))
        return begin_write(state, "note", node.name), True
    return state, True


def _kept_no_more(
    state: CoordinatorState,
    node: Node,
    incident: Incident,
    cls: NodeClass | None,
    why: str,
    actions: list[Action],
    *,
    current: bool,
) -> CoordinatorState:
    """From here on no keep is given in this incident. Written down once; what follows does not wait for that."""
    epoch = state.epoch
    assert epoch is not None
    if was_kept(incident):
        state = end_keep(state, incident, why)
    if not current or last_word(incident) in (NodeClass.FAILED, KEEP_ENDED):
        return state
    what, why = (cls.value, WORDS[cls]) if cls is NodeClass.FAILED else (KEEP_ENDED, why)
    actions.append(NoteClass(epoch, node.name, what, why))
    return begin_write(state, "class", node.name)


def _why_not(state: CoordinatorState, node: Node, incident: Incident, cls: NodeClass | None) -> str:
    """Why the VMs of the node cannot run on; empty when they can."""
    assert state.view is not None
    if cls is None:
        return "its heartbeat on the storage cannot be read"
    if cls is not NodeClass.ISOLATED:
        return WORDS[NodeClass.FAILED]
    beat, settings = state.beats.seen[node.name].beat, state.view.settings
    if settings.isolated_keep_seconds == 0:
        return "isolated nodes are not kept: isolated_keep_seconds is 0"
    if not beat.storage_ok:
        return "it is isolated, and says that it does not reach its pools"
    wanted = any(v.node == node.name and v.wants_to_run and not v.local for v in state.view.vms)
    if wanted and node.role is not NodeRole.WITNESS and (beat.gave_up or beat.vms == 0):
        return "it is isolated, and its VMs do not run any more"
    since = next((s.at for s in incident.steps if s.what == NodeClass.ISOLATED), None)
    limit = timedelta(seconds=settings.isolated_keep_seconds)
    over = since is not None and state.view.at is not None and state.view.at - since > limit
    if settings.armed and over and settings.isolated_then is AfterKeep.FENCE:
        return f"it was isolated for longer than {settings.isolated_keep_seconds:g} s"
    return ""


def _lease_over_at(state: CoordinatorState, node: str, times: HeartbeatTimes) -> float:
    """When the lease of a node is over that we cannot judge now: whoever led before us may have given the last keep."""
    return max(state.beats.acked_at.get(node, state.beats.led_since), state.beats.led_since) + times.lease_seconds


def quiet_since(state: CoordinatorState, node: Node, incident: Incident, settings: CoordinatorSettings) -> float | None:
    """Since when no lease can hold, so that time proves as it does for a node that was never kept. None: not known.

    See `storage_heartbeat` for why. A coordinator without the heartbeat in its configuration cannot know.
    """
    since = state.surely_absent_since(node.name)
    if since is None or not was_kept(incident):
        return since
    memory, times = state.beats, settings.heartbeat
    if times is None or memory.durable_at is None:
        return None
    last = max(memory.durable_at, memory.led_since + times.view_seconds_max, memory.acked_at.get(node.name, 0.0))
    return max(since, last + times.lease_counted_seconds)


def end_keep(state: CoordinatorState, incident: Incident, why: str) -> CoordinatorState:
    """No keep after this: a proof is written, or a fence begins."""
    if incident.id in state.beats.ended:
        return state
    return replace(state, beats=replace(state.beats, ended={**state.beats.ended, incident.id: why}))


def note_storage(
    state: CoordinatorState, now: float, node: Node, settings: CoordinatorSettings, actions: list[Action]
) -> CoordinatorState:
    """A member that lost its storage, or has it back: written into its row. An agent that hangs says nothing of it."""
    if settings.heartbeat is None or state.epoch is None or node.name not in state.members:
        return state
    if silent_seconds(state, node.name, now) > settings.heartbeat.silence_seconds / 2:
        return state
    cls = _class(state, now, node, settings.heartbeat)
    if cls is None or node.condition == cls:
        return state
    actions.append(NoteClass(state.epoch, node.name, cls, WORDS[cls]))
    return begin_write(state, "class", node.name)


def keep_beats(
    state: CoordinatorState, now: float, settings: CoordinatorSettings, actions: list[Action]
) -> CoordinatorState:
    """Read all beats, and after each reading say who is kept. Also while automation is disarmed: that ends no VM."""
    times, memory = settings.heartbeat, state.beats
    if times is None or state.epoch is None:
        return state
    lost = state.view is not None and any(n.state is NodeState.LOST for n in state.view.nodes)
    if memory.asked_at is None and now >= memory.due_at:
        actions.append(ReadBeats(now))
        memory = replace(memory, asked_at=now, due_at=now + times.beat_seconds / (2 if lost else 1))
    first = memory.durable_at is None and now >= memory.write_due_at
    if memory.writing or not (memory.answered or first or lost):
        return replace(state, beats=memory)
    keeps = _keeps(state, now, times)
    if not (memory.answered or first or keeps.keys() - memory.kept):
        return replace(state, beats=memory)
    revoked = _revoked(state)
    memory = replace(memory, answered=False)
    if first or keeps or memory.kept or revoked != memory.revoked:
        actions.append(WriteKeeps(state.epoch, tuple(keeps.items()), revoked))
        acked = {**memory.acked_at, **dict.fromkeys(keeps, now)}
        memory = replace(
            memory, writing=True, write_due_at=now + times.beat_seconds, kept=frozenset(keeps), revoked=revoked,
            acked_at=acked,
        )  # fmt: skip
    return replace(state, beats=memory)


def _keeps(state: CoordinatorState, now: float, times: HeartbeatTimes) -> dict[str, Keep]:
    view = state.view
    if view is None or view.epoch != state.epoch or now - state.view_asked_at > times.view_seconds_max:
        return {}
    found = {}
    for node in view.nodes:
        incident = view.incident_of(node.name) if node.state is NodeState.LOST else None
        if incident is None or incident.proof is not None or not was_kept(incident):
            continue
        cls = _class(state, now, node, times)
        earlier = state.view_asked_at < state.absent_since.get(node.name, now)  # it may show an isolation that is over
        if earlier or _ended(state, incident) or _why_not(state, node, incident, cls):
            continue
        beat = state.beats.seen[node.name].beat
        found[node.name] = Keep(beat.boot, beat.counter)
    return found


def _revoked(state: CoordinatorState) -> tuple[str, ...]:
    """Nodes whose lease is to end at once: their keep ended, and no proof is there yet."""
    if state.view is None:
        return ()
    incidents = [i for i in state.view.incidents if was_kept(i) and _ended(state, i)]
    return tuple(sorted({i.node for i in incidents if state.view.incident_of(i.node) is i}))
