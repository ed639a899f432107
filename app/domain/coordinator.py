"""The coordinator: step(state, now, events) -> (state, actions).

Every agent runs this; one of them leads. To lead is to be the senior of the agents' group (longest in it) in
a quorate partition, and to have won the epoch row of the database. Seniority is known without a vote: an agent
keeps the set of those that were in the group before it; when all of them have gone it is the oldest. Two that both
think so after a merge are told apart by the epoch row, and the loser's writes are refused.

Decisions are by level. A view that was read after the last write is compared with the membership; what differs
becomes an action. So a new coordinator needs no hand-over: it reads the rows and goes on where they stand.

Invariants:
* no plan for a node's VMs is made before its proof is in the database, under this epoch;
* nothing is decided on a view that was read before our last write was finished;
* outside of a quorate partition nothing is decided at all;
* an agent that was stopped for a while (frozen, starved), or whose Corosync hangs, decides nothing on what it knew
  before; absence counts only while it listens;
* while an operator has disarmed the cluster nothing is decided; on arming it goes on by level, with new proofs.
"""

from collections.abc import Sequence

from app.domain import coordinator_fencing, coordinator_heartbeat, coordinator_storage
from app.domain import coordinator_rules as rules
from app.domain.actions import Action, Campaign, LoadView, SendSignal
from app.domain.cluster import ClusterView
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import (
    CoordinatorState,
    group_changed,
    membership_changed,
    stepped_down,
    stood_still,
    unheard,
)
from app.domain.events import (
    BeatsRead,
    EpochLost,
    EpochWon,
    Event,
    FenceAttempted,
    FenceRead,
    GroupChanged,
    HeartbeatFailed,
    KeepsWritten,
    MembershipChanged,
    SignalReceived,
    StorageRestored,
    StoreLost,
    ViewLoaded,
    Written,
)
from app.domain.node import NodeState
from app.domain.replace import replace
from app.domain.storage_heartbeat import BeatMemory


def step(
    state: CoordinatorState, now: float, events: Sequence[Event], settings: CoordinatorSettings
) -> tuple[CoordinatorState, tuple[Action, ...]]:
    """Take in the facts, then decide."""
    actions: list[Action] = []
    if now - state.stepped_at > settings.pause_seconds_max:
        state = stood_still(state, now, settings.pause_settle_seconds)
    state = replace(state, stepped_at=now)
    if _deaf(state, now, settings):
        state = unheard(state, now)
    for event in events:
        state = _take_in(state, now, event, settings, actions)
    if not state.quorate or state.me not in state.group:
        return stepped_down(state), tuple(actions)
    if _deaf(state, now, settings):
        return state, tuple(actions)
    if not state.leading:
        if not state.campaigning and now >= state.campaign_at and _is_candidate(state, now, settings):
            state = replace(state, campaigning=True)
            actions.append(Campaign())
        return state, tuple(actions)
    if now - state.lead_sent_at >= settings.lead_interval_seconds:
        state = replace(state, lead_sent_at=now)
        actions.append(SendSignal("lead", epoch=state.epoch or 0))
    state, more = rules.decide(state, now, settings)
    actions += more
    state = coordinator_heartbeat.keep_beats(state, now, settings, actions)
    return _load_view(state, now, settings, actions), tuple(actions)


def _take_in(
    state: CoordinatorState, now: float, event: Event, settings: CoordinatorSettings, actions: list[Action]
) -> CoordinatorState:
    match event:
        case MembershipChanged(members, quorate):
            if quorate and not state.quorate:
                # Who kept quorum without us may lead: its word comes within one interval.
                wait = now + 1.5 * settings.lead_interval_seconds
                state = replace(state, campaign_at=max(state.campaign_at, wait))
            if state.ring_alive_at > float("-inf"):
                state = replace(state, ring_alive_at=now)
            return membership_changed(state, now, members, quorate)
        case GroupChanged(members, joined, left):
            return group_changed(state, now, members, joined, left)
        case SignalReceived(sender, "lead", _, epoch):
            return _heard_leader(state, now, sender, epoch)
        case SignalReceived(_, "look"):
            return replace(state, view_wanted=True)
        case SignalReceived(sender, "here", _, sent_at) if sender == state.me:
            return replace(state, ring_alive_at=max(state.ring_alive_at, sent_at / 1000))
        case SignalReceived(sender, "here"):
            return replace(state, heard_at={**state.heard_at, sender: now})
        case EpochWon(epoch) if epoch < state.known_epoch or not state.campaigning:
            return replace(state, campaigning=False)
        case EpochWon(epoch):
            actions.append(SendSignal("lead", epoch=epoch))
            return replace(
                state, epoch=epoch, known_epoch=epoch, campaigning=False, view=None, view_wanted=True,
                view_loading=False, writing=frozenset(), fences={}, lead_sent_at=now, led_at=now,
                beats=BeatMemory(led_since=now, due_at=now),
            )  # fmt: skip
        case EpochLost(epoch):
            lost = replace(stepped_down(state), known_epoch=max(state.known_epoch, epoch), campaigning=False)
            return replace(lost, campaign_at=now + settings.campaign_retry_seconds)
        case ViewLoaded(view, asked_at):
            return _view(state, now, view, asked_at)
        case Written(what, node):
            if what in ("plan", "cancel", "moves", "rolling"):
                actions.append(SendSignal("look"))
            fences = {n: p for n, p in state.fences.items() if what != "plan" or n != node}
            writing = state.writing - {f"{what}:{node}"}
            return replace(state, writing=writing, written_at=now, view_wanted=True, fences=fences)
        case StoreLost(what):
            return _store_lost(state, now, what, settings)
        case FenceAttempted():
            return coordinator_fencing.fence_attempted(state, now, event, settings)
        case FenceRead():
            return coordinator_fencing.fence_read(state, event)
        case StorageRestored():
            return coordinator_storage.restored(state, now, event, settings)
        case BeatsRead() | KeepsWritten() | HeartbeatFailed():
            return coordinator_heartbeat.take_in(state, now, event, settings)
        case _:
            return state


def _heard_leader(state: CoordinatorState, now: float, sender: str, epoch: int) -> CoordinatorState:
    if sender == state.me or epoch < state.known_epoch:
        return state
    if state.leading and epoch > (state.epoch or 0):
        state = stepped_down(state)
    if state.leading:
        return state
    # Whoever leads is senior to us, whatever we thought.
    return replace(state, known_epoch=epoch, led_at=now, seniors=(state.seniors | {sender}) & state.group)


def _deaf(state: CoordinatorState, now: float, settings: CoordinatorSettings) -> bool:
    """Our own signals come round the ring no more: it is broken, or Corosync hangs, and its last word is old.

    Others may have gone on without us, and who was absent may have come back. Its next word ends that.
    """
    return state.ring_alive_at > float("-inf") and now - state.ring_alive_at > settings.ring_silence_seconds


def _is_candidate(state: CoordinatorState, now: float, settings: CoordinatorSettings) -> bool:
    """The senior leads. Where nobody has for a while, the first by name tries, then the second, and so on.

    All may have come back at once, or the senior is alive and too slow to lead: nobody waits for one node for ever.
    """
    if not state.seniors:
        return True
    turn = 1 + sorted(state.group).index(state.me)
    return now - state.led_at > turn * settings.leader_silence_seconds


def _view(state: CoordinatorState, now: float, view: ClusterView, asked_at: float) -> CoordinatorState:
    state = replace(state, view_loading=False)
    if not state.leading:
        return state
    if asked_at <= state.written_at or state.writing:
        return replace(state, view_wanted=True)
    absent = dict(state.absent_since)
    for node in view.nodes:
        if node.name not in state.members:
            absent.setdefault(node.name, now)
    hosted = {**state.hosted_at, **{n.name: now for n in view.nodes if n.state is NodeState.ONLINE}}
    return replace(state, view=view, view_asked_at=asked_at, absent_since=absent, hosted_at=hosted)


def _store_lost(state: CoordinatorState, now: float, what: str, settings: CoordinatorSettings) -> CoordinatorState:
    """What was asked may have been written or not: forget it, and read again after a pause."""
    if what == "campaign":
        return replace(state, campaigning=False, campaign_at=now + settings.campaign_retry_seconds)
    kind = what.split(":", maxsplit=1)[0]
    if kind not in rules.WRITES and kind != "view":
        return state
    return replace(
        state, view_loading=False if kind == "view" else state.view_loading, writing=state.writing - {what},
        written_at=now, view_wanted=True, store_retry_at=now + settings.store_retry_seconds,
        view=state.view if kind == "view" else None,
    )  # fmt: skip


def _load_view(
    state: CoordinatorState, now: float, settings: CoordinatorSettings, actions: list[Action]
) -> CoordinatorState:
    if state.view_loading or state.writing:
        return state
    if not state.view_wanted and now < state.view_due_at:
        return state
    if now < state.store_retry_at:
        return state
    actions.append(LoadView())
    return replace(state, view_loading=True, view_wanted=False, view_due_at=now + settings.view_interval_seconds)
