"""What one agent's coordinator remembers, and how membership and group change it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.cluster import ClusterView
from app.domain.fencing import FenceProgress
from app.domain.rebalance import RebalanceMemory
from app.domain.replace import replace
from app.domain.storage_heartbeat import BeatMemory


@dataclass(frozen=True)  # no slots: see `replace`
class CoordinatorState:
    """What one agent's coordinator remembers. All times are monotonic seconds."""

    me: str
    members: frozenset[str] = frozenset()
    quorate: bool = False
    quorate_since: float = 0.0
    seen: frozenset[str] = frozenset()
    absent_since: Mapping[str, float] = field(default_factory=dict)
    #: node -> when we read last, as the leader, that it hosts: absent or not to us, somebody had let it in
    hosted_at: Mapping[str, float] = field(default_factory=dict)
    present_since: Mapping[str, float] = field(default_factory=dict)
    #: when each member was last heard (`soft_fence`), and when its API was told that its agent is silent
    heard_at: Mapping[str, float] = field(default_factory=dict)
    softened: Mapping[str, float] = field(default_factory=dict)
    group: frozenset[str] = frozenset()
    seniors: frozenset[str] = frozenset()
    #: those that left the group since the members were last told
    parted: frozenset[str] = frozenset()
    epoch: int | None = None
    known_epoch: int = 0
    led_at: float = 0.0
    #: when the last of our own signals was sent that came round the ring, see `node_agent`
    ring_alive_at: float = float("-inf")
    stepped_at: float = 0.0
    campaigning: bool = False
    campaign_at: float = 0.0
    view: ClusterView | None = None
    #: the view that asked for no plan: the same view asks for none again
    planned_view: ClusterView | None = None
    view_loading: bool = False
    view_due_at: float = 0.0
    view_wanted: bool = False
    store_retry_at: float = 0.0
    written_at: float = 0.0
    view_asked_at: float = 0.0
    writing: frozenset[str] = frozenset()
    lead_sent_at: float = 0.0
    fences: Mapping[str, FenceProgress] = field(default_factory=dict)
    #: node -> when giving it its storage back may be tried again; infinite while that is under way
    restores: Mapping[str, float] = field(default_factory=dict)
    #: VM -> (tries that failed, until when its next migration waits)
    moves_rest: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    rebalance: RebalanceMemory = field(default_factory=RebalanceMemory)
    #: of the heartbeat over storage, in this epoch
    beats: BeatMemory = field(default_factory=BeatMemory)

    @property
    def leading(self) -> bool:
        """True while this agent holds an epoch that it has not heard a newer one of."""
        return self.epoch is not None

    @property
    def view_current(self) -> bool:
        """True when the view was read after our last write had ended, and no other is in flight."""
        return self.view is not None and not self.writing and self.view_asked_at > self.written_at

    def absent_seconds(self, node: str, now: float) -> float | None:
        """For how long the node has been missing from our quorate partition; None while it is here."""
        since = self.absent_since.get(node)
        return None if since is None else now - since

    def surely_absent_since(self, node: str) -> float | None:
        """Since when a fence or a proof may count. A Corosync that has just begun to hang still calls a node absent
        that others let in meanwhile, so what hosted when we last read it counts from there."""
        since = self.absent_since.get(node)
        return None if since is None else max(since, self.hosted_at.get(node, since))


def start(me: str, now: float) -> CoordinatorState:
    """The state of an agent that has just come up."""
    return CoordinatorState(me, led_at=now, stepped_at=now)


def membership_changed(state: CoordinatorState, now: float, members: frozenset[str], quorate: bool) -> CoordinatorState:
    """Absence counts from when it was seen, but never from before we were quorate.

    While we were not, another partition may have been, with the absent node in it and running VMs.
    """
    regained = quorate and not state.quorate
    if members & state.parted:
        state = _not_watched(state, now)
    missing = (state.members | state.seen | frozenset(state.absent_since)) - members
    absent = {n: now if regained else state.absent_since.get(n, now) for n in missing}
    present = {n: state.present_since.get(n, now) for n in members}
    seniors = state.seniors
    if regained:
        # Those who kept quorum without us have been here longer than we have.
        seniors = state.group - {state.me}
    return replace(
        state, members=members, quorate=quorate, absent_since=absent, present_since=present, seniors=seniors,
        quorate_since=now if regained else state.quorate_since,
        seen=(state.seen | members) if quorate else frozenset(),
        led_at=now if regained else state.led_at, view_wanted=True, parted=frozenset(),
    )  # fmt: skip


def _not_watched(state: CoordinatorState, now: float) -> CoordinatorState:
    """Absence counts anew.

    Where links fail in one direction the ring goes to and fro. We then see the same members twice, without the ring
    that some of them had in between; that they left the agents' group and are here again is all that tells of it. An
    agent that was only restarted looks the same: a wait too long, instead of a proof that proves nothing.
    """
    return replace(state, parted=frozenset(), absent_since=dict.fromkeys(state.absent_since, now))


def group_changed(
    state: CoordinatorState, now: float, members: frozenset[str], joined: frozenset[str], left: frozenset[str]
) -> CoordinatorState:
    """Who was in the agents' group before us: when all of those have gone, we are the oldest.

    One that leaves and comes again may have been in another ring, quorate with a node that we think is absent.
    """
    seniors = (state.seniors & members) - left
    if state.me in joined:
        # Those that came in the same change are ordered by name.
        seniors = members - joined | {n for n in joined & members if n < state.me}
    if joined & state.parted:
        state = _not_watched(state, now)
    return replace(state, group=members, seniors=seniors, parted=state.parted | left, view_wanted=True)


def stood_still(state: CoordinatorState, now: float, settle_seconds: float) -> CoordinatorState:
    """We were stopped for longer than others wait: who was absent then may have come back, who led may lead no more.

    Absence counts anew from now, for it proves something only when it was watched; and we lead nobody for a while.
    """
    absent, heard = dict.fromkeys(state.absent_since, now), dict.fromkeys(state.heard_at, now)
    down = replace(stepped_down(state), campaigning=False, absent_since=absent, heard_at=heard)
    return replace(down, campaign_at=now + settle_seconds)


def unheard(state: CoordinatorState, now: float) -> CoordinatorState:
    """We hear nothing: who was absent may have come back, run VMs and left again. Absence counts anew from now, and so
    does the silence of those that we do not hear.
    """
    absent, heard = dict.fromkeys(state.absent_since, now), dict.fromkeys(state.heard_at, now)
    return replace(state, absent_since=absent, heard_at=heard) if absent or heard else state


def stepped_down(state: CoordinatorState) -> CoordinatorState:
    """The state of an agent that leads no more: what it knew as the leader is forgotten."""
    if not state.leading and not state.campaigning:
        return state
    return replace(
        state, epoch=None, view=None, view_loading=False, writing=frozenset(), fences={}, restores={},
        softened={},
    )  # fmt: skip


def begin_write(state: CoordinatorState, what: str, node: str) -> CoordinatorState:
    """A write about the node is in flight; it is known as "kind:node"."""
    return replace(state, writing=state.writing | {f"{what}:{node}"})


def keep_fence(state: CoordinatorState, node: str, progress: FenceProgress) -> CoordinatorState:
    """What was tried on that node is known."""
    return replace(state, fences={**state.fences, node: progress})
