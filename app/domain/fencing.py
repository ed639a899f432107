"""The chain of proofs: how the coordinator comes to know that a lost node can no longer write.

Power is cut by levels, as in Pacemaker's fencing topology: the devices of one level must all be off (a server with two
power supplies has two), and the next level is tried when one has failed; after the last comes the first again, for
ever. Beside the levels run the methods of the pools (`storage`) and the clock of the node's own watchdog; an operator's
word counts as well. Whichever proves first counts. "Probably fenced" is not fenced: a method that ends without having
*seen* the node off proves nothing, and time proves something only about a node whose agent had reported an armed
watchdog.

The first question to the devices is how they stand, for to read costs nobody anything. A node that reads off is
proven by that, at once. One that reads on, or whose devices do not answer, may only have lost its network for a moment:
its power is cut when it has been absent for `CoordinatorSettings.blip_seconds`. A reading counts only when it began
in the absence that it is to prove: what was read before a node came back and left again says nothing.

A proof by a device is read again until the plan is committed. A device that said "off" and later reads "on" has lied,
and so has any proof of a node that is seen in the membership afterwards: the proof is void, and in this incident that
device is believed no more.

Why time is a proof. The node feeds its watchdog only while it is quorate and a signal that it sent itself at most
`ring_silence_seconds` ago came round the ring, or when it has verified that none of its VMs runs but those that it
keeps, whose volumes nobody else can reach and which no plan moves. The coordinator
notices at d that the node has left, so it left at r <= d. Whatever went round in a quorate ring was sent before r:
the last feed was before r + silence, and by d + silence + watchdog the node has destroyed its VMs or been reset.
With silence <= `detection_skew_seconds` nothing of it runs after d + watchdog + skew, also when its Corosync
hangs and never tells it of the loss. To open the device is to feed it: so an agent that is started again there opens it
by its first feed, and does not open it before it has a reason to feed.

Clocks. The kernel slews a clock by at most 500 ppm, so while one node counts the wait another counts up to 0.1 % less
or more. The coordinator waits that much longer, on its own clock.

A node that is frozen notices nothing while it is. When it goes on it does not feed until Corosync had the time to tell
it what it missed (`NodeAgentSettings.pause_settle_seconds`), so its last feed is still the one before the pause. The
coordinator's d counts only while it watches: an agent that was stopped itself begins to count anew.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.domain.cluster import Incident, Proof

#: the step of an incident that says what its devices read before any power was cut
LOOKED = "not-read-off"

#: steps of an incident that later decisions read: a proof that was false, an operator's word, and its refusal
VOID, CONFIRMED, REFUSED = "proof-void", "confirmed-dead", "confirm-refused"

#: by how much of a time the clocks of two healthy nodes may disagree on it: 500 ppm each, one fast and one slow
CLOCK_DRIFT = 0.001


@dataclass(frozen=True, slots=True)
class FencingTimes:
    """The figures that the proof by time rests on, in seconds. Checked when they are made."""

    self_fence_seconds: float = 5.0
    detection_skew_seconds: float = 2.0
    attempt_timeout_seconds: float = 20.0
    retry_seconds: float = 1.0

    def wait_seconds(self, watchdog_seconds: float) -> float:
        """How long a node with this watchdog must have been absent to be proven dead by time alone."""
        return (watchdog_seconds + self.detection_skew_seconds) * (1 + CLOCK_DRIFT)

    def check(self, watchdog_seconds: float | None) -> None:
        """ValueError unless self-fencing ends before the watchdog, and the coordinator's wait after it."""
        if self.detection_skew_seconds <= 0 or self.self_fence_seconds <= 0:
            raise ValueError("self_fence_seconds and detection_skew_seconds must be greater than 0")
        if watchdog_seconds is not None and not self.self_fence_seconds < watchdog_seconds:
            raise ValueError(
                f"self_fence_seconds ({self.self_fence_seconds}) must be smaller than the watchdog timeout "
                f"({watchdog_seconds} s): a node without quorum must have destroyed its VMs before it is reset"
            )


@dataclass(frozen=True, slots=True)
class FenceProgress:
    """What was tried on one node in this coordinator's memory; a new coordinator starts anew."""

    in_flight: frozenset[str] = frozenset()
    next_try_at: Mapping[str, float] = field(default_factory=dict)
    failures_of: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""
    proof: Proof | None = None
    #: the first look, before any power is cut: what is being read since when, when to read again, what was seen first
    looking: Mapping[str, float] = field(default_factory=dict)
    look_due_at: Mapping[str, float] = field(default_factory=dict)
    first_look: str = ""
    #: when the reading began that is the proof; None when the proof is not from a first look
    read_off_since: float | None = None
    #: when we first held the proof, the method that is being read again, and what that has said since
    proven_at: float | None = None
    reading: str = ""
    reading_since: float = 0.0
    read_due_at: float = 0.0
    confirmed: bool = False
    lied: str = ""

    @property
    def failures(self) -> int:
        """Attempts of all methods that proved nothing."""
        return sum(self.failures_of.values())

    @property
    def begun(self) -> bool:
        """True when a device was asked already to cut the power."""
        return bool(self.in_flight or self.next_try_at)

    def asked_how_it_stands(self, method: str, now: float, times: FencingTimes) -> "FenceProgress":
        """The progress after a reading of `method` began."""
        return replace(
            self,
            looking={**self.looking, method: now},
            look_due_at={**self.look_due_at, method: now + times.retry_seconds},
        )

    def looked(self, method: str, off: bool | None, said: str) -> "FenceProgress":
        """The progress after that reading ended. What it said first is kept for the incident."""
        proof = Proof(method, f"status off, by reading alone: {said}") if off else None
        stands = f"{method}: {'reads on' if off is False else 'cannot be read'} ({said})"
        known = self.forgot(method)
        if proof is not None and self.proof is None:
            known = replace(known, proof=proof, read_off_since=self.looking[method])
        return replace(known, first_look=self.first_look or ("" if off else stands))

    def forgot(self, method: str) -> "FenceProgress":
        """The progress after a reading ended that says nothing about now."""
        return replace(self, looking={m: since for m, since in self.looking.items() if m != method})

    def attempted(self, method: str, proof: Proof | None, now: float, times: FencingTimes) -> "FenceProgress":
        """The progress after `method` ended. A first proof is kept."""
        return replace(
            self,
            in_flight=self.in_flight - {method},
            next_try_at={**self.next_try_at, method: now + times.retry_seconds},
            failures_of={**self.failures_of, method: self.failures_of.get(method, 0) + (proof is None)},
            proof=self.proof or proof,
        )


def methods_due(
    progress: FenceProgress, levels: tuple[str, ...], beside: tuple[str, ...], now: float
) -> tuple[str, ...]:
    """The methods to start now: one level at a time, of those that failed least the first; and all those beside."""
    free = [m for m in beside if m not in progress.in_flight]
    if levels and not progress.in_flight.intersection(levels):
        free.insert(0, min(levels, key=lambda m: progress.failures_of.get(m, 0)))
    return tuple(m for m in free if progress.next_try_at.get(m, now) <= now)


def distrusted(incident: Incident) -> frozenset[str]:
    """The methods whose proof turned out to be false in this incident."""
    return frozenset(s.detail.partition(":")[0] for s in incident.steps if s.what == VOID)


def word_of_operator(incident: Incident) -> str:
    """Who said that the node is dead, and why; empty when nobody did, or when it was refused or proven false since."""
    words = [s for s in incident.steps if s.what in (CONFIRMED, REFUSED, VOID)]
    return words[-1].detail if words and words[-1].what == CONFIRMED else ""


def proof_by_time(
    absent_seconds: float, watchdog_seconds: float | None, times: FencingTimes, what: str = "absent"
) -> Proof | None:
    """The watchdog's proof, once the node has been absent for long enough; None before, and without a watchdog.

    `what`: in a word, what it has been for so long.
    """
    if watchdog_seconds is None:
        return None
    wait = times.wait_seconds(watchdog_seconds)
    if absent_seconds <= wait:
        return None
    return Proof(
        "watchdog",
        f"{what} for {absent_seconds:.1f} s, longer than its watchdog of {watchdog_seconds:g} s "
        f"and a detection skew of {times.detection_skew_seconds:g} s",
    )
