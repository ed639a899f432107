"""The second heartbeat, over shared storage: what a node is that Corosync has lost, and the lease that keeps its VMs.

Each agent writes a *beat* about itself, anybody reads all of them. Corosync's word and the beat together tell three
things apart that look the same to Corosync alone:

    Corosync   the beat       the node is
    lost it    stands still   failed: it is off, hangs, or has lost everything
    lost it    goes on        isolated: it lost its management network, its VMs reach their volumes
    sees it    stands still   storage-lost: it cannot write, or says so itself

The coordinator may let the VMs of an isolated node run on. It writes a *keep* under its epoch that echoes the counter
of a beat. The counter is the time at which the node began to write that beat, in milliseconds of its own monotonic
clock, so the *lease* that the node gets ends at that time plus `lease_seconds`, whoever delivers the keep, and however
late. The node feeds its watchdog under a lease as if it were quorate; at its end it pauses its VMs, and destroys them
`self_fence_seconds` later, which is before the watchdog resets it.

Why time is still a proof (see `fencing` for the rest of it):

* No keep is given before the coordinator has written ISOLATED into the open incident, in a transaction that holds its
  epoch, and has read it back. So a coordinator that sees no such step knows that nobody ever gave one: it waits as
  without a heartbeat. One that was replaced cannot write the step any more.
* With the step: a keep that was decided on at `a` echoes a counter from before `a`, so its lease is over at a + lease,
  the last feed is before that, and at a + lease + watchdog nothing of the node runs. We wait for
  lease + watchdog + skew after our own last keep. Of those before us we know that they decide on a view that is at most
  `view_seconds_max` old and shows their own epoch as the newest; and a node obeys the highest epoch only that it ever
  read, of which ours is one as soon as our first record is on the storage. We count from the later of the two.
* A node obeys only a counter from after it was last quorate: a keep from an earlier isolation says nothing about this.

Nothing of this rests on a reading being young: one that is old only makes leases end sooner.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.cluster import Incident
from app.domain.fencing import CLOCK_DRIFT, FencingTimes


class NodeClass(StrEnum):
    """What a node is by both heartbeats; the values stand in its row, and as steps in its incident."""

    WELL = ""
    FAILED = "failed"
    ISOLATED = "isolated"
    STORAGE_LOST = "storage-lost"


#: the step that says that the VMs of an isolated node run on no more, and why
KEEP_ENDED = "keep-ended"


@dataclass(frozen=True, slots=True)
class HeartbeatTimes:
    """All in seconds. The lease is the same on all nodes: it is no setting."""

    beat_seconds: float = 1.0
    #: a beat that did not change for so long stands still
    silence_seconds: float = 4.0
    lease_seconds: float = 10.0
    #: how old the view may be that a keep is decided on
    view_seconds_max: float = 4.0

    @property
    def lease_counted_seconds(self) -> float:
        """The lease as another node's clock may count it."""
        return self.lease_seconds * (1 + CLOCK_DRIFT)

    def wait_seconds(self, watchdog_seconds: float, times: FencingTimes) -> float:
        """From the last keep until time proves that nothing of the node runs."""
        return self.lease_counted_seconds + times.wait_seconds(watchdog_seconds)

    def check(self, times: FencingTimes, watchdog_seconds: float | None) -> None:
        """ValueError unless a kept node has ended its VMs, or been reset, before the coordinator's wait is over."""
        if not 2 * self.beat_seconds < self.silence_seconds < self.lease_seconds:
            raise ValueError(
                f"two beats ({self.beat_seconds:g} s each) must be shorter than the silence "
                f"({self.silence_seconds:g} s), and that shorter than the lease ({self.lease_seconds:g} s)"
            )
        if watchdog_seconds is None:
            return
        times.check(watchdog_seconds)
        ends = self.lease_seconds + max(times.self_fence_seconds, watchdog_seconds)
        if not ends < self.wait_seconds(watchdog_seconds, times):
            raise ValueError(
                f"a node whose lease ends may run VMs for {ends:g} s after its last beat, and the coordinator waits "
                f"{self.wait_seconds(watchdog_seconds, times):g} s"
            )


@dataclass(frozen=True, slots=True)
class Beat:
    """What a node says about itself on the storage. `counter`: when it began to write this, in ms of its own clock.

    `gave_up`: it has ended its VMs because it was without quorum for too long. `vms`: how many copies are up there,
    None when it cannot tell.
    """

    node: str
    boot: str
    counter: int
    quorate: bool
    storage_ok: bool = True
    gave_up: bool = False
    vms: int | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """The echo of one beat: its node may let its VMs run for one lease from then on."""

    boot: str
    counter: int


@dataclass(frozen=True, slots=True)
class KeepRecord:
    """All that one coordinator has to say, in its epoch. `revoked`: nodes whose lease is over at once."""

    leader: str
    epoch: int
    keeps: Mapping[str, Keep] = field(default_factory=dict)
    revoked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one node's beats. `moved_at`: when the last reading began that found a new one."""

    beat: Beat
    first_at: float
    moved_at: float | None = None

    def again(self, beat: Beat, asked_at: float) -> "Seen":
        """After one more reading."""
        if (beat.boot, beat.counter) == (self.beat.boot, self.beat.counter):
            return self
        return Seen(beat, self.first_at, asked_at)


@dataclass(frozen=True)  # no slots: see `replace`
class BeatMemory:
    """What a leading coordinator knows of the heartbeat, in its epoch. All times are monotonic seconds."""

    led_since: float = 0.0
    seen: Mapping[str, Seen] = field(default_factory=dict)
    asked_at: float | None = None
    due_at: float = 0.0
    #: when the last reading began in which our own beat was a young one: else the storage shows us old things; and
    #: since when such readings come without a gap
    fresh_at: float = float("-inf")
    watched_since: float = 0.0
    #: a reading came that no record was written after
    answered: bool = False
    writing: bool = False
    write_due_at: float = 0.0
    #: when our first record was on the storage, None before; and what the last one said
    durable_at: float | None = None
    kept: frozenset[str] = frozenset()
    revoked: tuple[str, ...] = ()
    #: node -> when we last decided on a keep for it
    acked_at: Mapping[str, float] = field(default_factory=dict)
    #: incident -> why its node is kept no more: for the rest of the incident
    ended: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """What a node holds. It counts only for a counter from after the node was last quorate, see `node_agent_lease`.

    `epoch`: the highest that it ever read. `counter`: the newest of its own that was echoed in it. `ended_at`: when it
    was told that this is over.
    """

    epoch: int = 0
    counter: int = -1
    ended_at: float | None = None


def classify(
    node: str, memory: BeatMemory, absent_since: float | None, now: float, times: HeartbeatTimes
) -> NodeClass | None:
    """What the node is; None when its beat says nothing: it never wrote one, or what we read is old.

    `absent_since` None: Corosync sees it. A beat goes on when a reading found a new one that began in this absence; it
    stands still when readings without a gap found none for `silence_seconds`.
    """
    seen = memory.seen.get(node)
    if seen is None or now - memory.fresh_at > times.silence_seconds:
        return None
    moved_at = seen.first_at if seen.moved_at is None else seen.moved_at
    still = memory.fresh_at - max(moved_at, memory.watched_since) > times.silence_seconds
    if absent_since is None:
        return NodeClass.STORAGE_LOST if still or not seen.beat.storage_ok else NodeClass.WELL
    if still:
        return NodeClass.FAILED
    moves = seen.moved_at is not None and seen.moved_at > absent_since
    return NodeClass.ISOLATED if moves else None


def was_kept(incident: Incident) -> bool:
    """True when anybody may have let the node's VMs run on in this incident."""
    return any(s.what == NodeClass.ISOLATED for s in incident.steps)


def last_word(incident: Incident) -> str:
    """What was written last of the node's heartbeat; empty when nothing was."""
    words = (NodeClass.FAILED, NodeClass.ISOLATED, KEEP_ENDED)
    return next((s.what for s in reversed(incident.steps) if s.what in words), "")
