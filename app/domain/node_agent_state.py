"""What the agent of one node remembers, and the figures it decides with. All times are monotonic seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.events import DomainFact
from app.domain.node import Node
from app.domain.policy import End
from app.domain.rolling_run import UPGRADE_REFUSED
from app.domain.storage_heartbeat import HeartbeatTimes, Lease
from app.domain.vm import Vm


@dataclass(frozen=True, slots=True)
class NodeAgentSettings:
    """All in seconds, but for the counts."""

    self_fence_seconds: float = 5.0
    #: how long a started agent waits for Corosync's first word before it takes silence for a lost quorum
    first_word_seconds: float = 3.0
    lease_seconds: float = 4.0
    desired_interval_seconds: float = 2.0
    domains_interval_seconds: float = 2.0
    domains_fast_seconds: float = 0.2
    #: in quorum, also who is in a hurry pauses that many times as long as libvirt took to list, up to the usual pause:
    #: else a slow one does nothing but list
    domains_rest: float = 4.0
    health_interval_seconds: float = 10.0
    store_retry_seconds: float = 0.5
    starts_max: int = 3
    start_tries_max: int = 3
    start_retry_seconds: float = 2.0
    #: after so many failed starts, some two minutes, it may go back to where it failed before
    start_tries_long: int = 8
    work_retry_seconds: float = 1.0
    #: a VM that ended by itself is restarted at once, the next time after this pause, then the double, and so on
    end_retry_seconds: float = 5.0
    end_retry_seconds_max: float = 300.0
    #: after it ran well for so long its ends are no longer "in a row"
    well_seconds: float = 300.0
    #: a VM that QEMU paused for its disk is resumed after this pause, then the double, up to the maximum
    io_retry_seconds: float = 2.0
    io_retry_seconds_max: float = 60.0
    #: so many resumes that ended in the same error, half a minute, and the wait for the next one: it is started anew
    io_tries_max: int = 4
    #: as in CoordinatorSettings: a pause that others may have noticed, and how long Corosync takes to tell us
    pause_seconds_max: float = 2.0
    pause_settle_seconds: float = 2.0
    acpi_repeat_seconds: float = 10.0
    #: so long a VM waits at a gate of `start_gates` at most; meanwhile the database is read more often
    gate_seconds_max: float = 120.0
    gated_interval_seconds: float = 0.5
    #: how often it sends itself a signal over Corosync's ring, and how old the last that came round may be to count
    #: as being in the ring. The silence must not be above `FencingTimes.detection_skew_seconds`: see `fencing`.
    ring_interval_seconds: float = 1.0
    ring_silence_seconds: float = 2.0
    #: a live migration is given up when so long nothing of what is left gets less, or when it takes longer than that
    move_stall_seconds: float = 60.0
    move_seconds_max: float = 900.0
    move_note_seconds: float = 5.0
    #: when the host is shut down: so long a guest has after its power button was pressed
    leave_stop_seconds: float = 60.0
    #: a reboot that was asked for and did not happen is asked for again; an upgrade is looked after until it is done
    reboot_retry_seconds: float = 120.0
    upgrade_look_seconds: float = 5.0
    #: None: there is no heartbeat over storage
    heartbeat: HeartbeatTimes | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Starts of one VM that failed here, in this generation."""

    generation: int
    failures: int
    retry_at: float
    error: str


@dataclass(frozen=True, slots=True)
class Moving:
    """A migration away from here that this agent began or found. `given_up`: why it was aborted, or did not begin.

    `least_mib` is the least that was left of `memory_pass`; `progress_at` is when that became less, or a pass began.
    """

    passenger: int
    begun_at: float
    progress_at: float
    least_mib: int | None = None
    memory_pass: int = 0
    noted_percent: int = 0
    noted_at: float = 0.0
    given_up: str = ""
    aborted_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Ending:
    """The last end of one VM that nobody asked for: the how manieth, and how many in a row.

    `open` until it runs well again, then `since` is when that began; before, when the end was seen.
    """

    generation: int
    kind: End
    number: int
    in_a_row: int
    since: float
    open: bool = True


@dataclass(frozen=True, slots=True)
class Resume:
    """Tries to let a VM go on that QEMU had paused for an error of its disk."""

    tries: int
    next_at: float


@dataclass(frozen=True)  # no slots: see `replace`
class NodeAgentState:
    """`domains` is None while the hypervisor does not answer, `desired` before the first reading of the database."""

    me: str
    quorate: bool = False
    quorum_known: bool = False
    quorum_lost_at: float = 0.0
    quorate_at: float = 0.0
    stepped_at: float = 0.0
    #: when we last sent ourselves a signal, and when the last was sent that came round: we were in the ring after it
    ring_asked_at: float = float("-inf")
    ring_alive_at: float = float("-inf")
    #: until then the watchdog is not fed: we were stopped, and may have lost quorum without knowing it yet
    unsure_until: float = 0.0

    domains: Mapping[int, DomainFact] | None = None
    domains_at: float = -1.0
    listing: bool = False
    listing_at: float = 0.0
    domains_wanted: bool = True
    domains_due_at: float = 0.0
    hypervisor_error: str = ""

    node: Node | None = None
    armed: bool = True
    desired: Mapping[int, Vm] | None = None
    incoming: Mapping[int, Vm] = field(default_factory=dict)
    desired_at: float = -1.0
    loading: bool = False
    desired_wanted: bool = True
    desired_due_at: float = 0.0
    store_error: str = ""
    store_retry_at: float = 0.0

    problems: tuple[str, ...] = ()
    checking: bool = False
    health_due_at: float = 0.0

    #: work in flight: VM -> what; a second piece of work on a VM waits for the first, but for a destroy
    working: Mapping[int, str] = field(default_factory=dict)
    destroying: frozenset[int] = frozenset()
    trouble: Mapping[int, Trouble] = field(default_factory=dict)
    #: VM -> why it must not start yet, and since when
    gates: Mapping[int, str] = field(default_factory=dict)
    gated_since: Mapping[int, float] = field(default_factory=dict)
    endings: Mapping[int, Ending] = field(default_factory=dict)
    resumes: Mapping[int, Resume] = field(default_factory=dict)
    #: VM -> when we last pressed its power button: what then goes off did not go off by itself
    acpi_at: Mapping[int, float] = field(default_factory=dict)
    #: resets that this agent did, by VM
    resets: Mapping[int, int] = field(default_factory=dict)

    #: when work on a VM ended (what was listed before says nothing about it now), and until when not to try again
    touched_at: Mapping[int, float] = field(default_factory=dict)
    hold_until: Mapping[int, float] = field(default_factory=dict)

    #: migrations away from here by VM, and those of them that a write is in flight about
    moves: Mapping[int, Moving] = field(default_factory=dict)
    move_writes: frozenset[int] = frozenset()
    move_written_at: float = -1.0
    #: VM -> when its power button was pressed because the host is being shut down
    leaving_at: Mapping[int, float] = field(default_factory=dict)
    #: VM -> (generation, when it was first listed): a copy is judged a stranger only by a reading that began later
    first_listed: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    #: the others should look at the database
    tell_wanted: bool = False

    reporting: bool = False
    #: a reading of the database came that no report has been made from yet
    report_due: bool = False
    report_confirmed: bool = False
    report_ended_at: float = 0.0
    reported_health: str = ""
    rejoining: bool = False
    #: when this machine was told to reboot, and why it did not
    reboot_asked_at: float = float("-inf")
    reboot_error: str = ""
    #: when this node was told to upgrade, and why it did not
    upgrade_asked_at: float = float("-inf")
    upgrade_error: str = ""
    #: this node's member of the database, see `Node.database`; None before the first look
    database: str | None = None

    #: the heartbeat over storage: what is in flight, what is due, and the lease under which VMs run on without quorum
    beating: bool = False
    beat_due_at: float = 0.0
    keeps_reading: bool = False
    keeps_due_at: float = 0.0
    lease: Lease = field(default_factory=Lease)
    #: when VMs were last destroyed because there was neither quorum nor a lease for too long
    gave_up_at: float = float("-inf")

    @property
    def health(self) -> str:
        """`ok`, or what is wrong with this node, joined by comma."""
        reboot = (f"reboot refused: {self.reboot_error}",) if self.reboot_error else ()
        upgrade = (f"{UPGRADE_REFUSED}: {self.upgrade_error}",) if self.upgrade_error else ()
        words = (*(("libvirt",) if self.hypervisor_error else ()), *self.problems, *reboot, *upgrade)
        return ", ".join(words) or "ok"
