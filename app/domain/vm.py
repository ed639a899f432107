"""A virtual machine: what is wanted of it, what its node saw, and what follows for the outside.

Wanted (`desired`, `node`, `generation`) is written by requests and by the coordinator only; seen
(`Observed`) by the agent of its node only. Status is derived from both and stored nowhere.

The generation is the fencing token of a placement: it grows whenever `node` changes. A domain found
with another generation than its row is a copy that must not exist and is destroyed before anything else.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from app.domain.migration import Migration
from app.domain.policy import HaPolicy, PlacementNeeds


class Desired(StrEnum):
    """What the VM should be. `DELETED` rows stay until the last volume is gone."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class StopMode(StrEnum):
    """How a VM that should be stopped is stopped."""

    ACPI = "acpi"
    HARD = "hard"


class PowerSeen(StrEnum):
    """What the agent of the VM's node last saw of it."""

    UNKNOWN = "unknown"
    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"


class Status(StrEnum):
    """What a customer or an operator reads."""

    INITIALIZING = "initializing"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    OFF = "off"
    RECOVERING = "recovering"
    UNPLACED = "unplaced"
    DELETING = "deleting"


class Command(StrEnum):
    """The power actions that a customer can ask for."""

    POWERON = "poweron"
    POWEROFF = "poweroff"
    SHUTDOWN = "shutdown"
    REBOOT = "reboot"
    RESET = "reset"
    DELETE = "delete"


_LIVE = frozenset(
    {
        Status.INITIALIZING,
        Status.STARTING,
        Status.RUNNING,
        Status.PAUSED,
        Status.RECOVERING,
        Status.UNPLACED,
        Status.STOPPING,
    }
)
#: In which status a command may be given. DELETE works always but on a VM that is being deleted.
ALLOWED: dict[Command, frozenset[Status]] = {
    Command.POWERON: frozenset({Status.OFF, Status.STOPPING, *_LIVE}),
    Command.POWEROFF: frozenset({Status.OFF, *_LIVE}),
    Command.SHUTDOWN: frozenset({Status.RUNNING, Status.STOPPING}),
    Command.REBOOT: frozenset({Status.RUNNING}),
    Command.RESET: frozenset({Status.RUNNING, Status.PAUSED}),
    Command.DELETE: frozenset({Status.OFF, *_LIVE}),
}


@dataclass(frozen=True, slots=True)
class Observed:
    """What the agent of a node reported. `generation` and `node` say of which placement it speaks."""

    power: PowerSeen = PowerSeen.UNKNOWN
    generation: int = 0
    node: str = ""
    verified_at: datetime | None = None
    error: str = ""
    resets_done: int = 0
    #: see `actions.VmSeen`
    ended: str = ""
    ends: int = 0
    ends_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM. Memory in MiB, disk in GiB. `incident_id` is the recovery it is part of, if any."""

    id: int
    name: str
    project_id: int
    plan: str
    cores: int
    memory_mib: int
    disk_gib: int
    image: str
    pool: str
    created: datetime
    desired: Desired = Desired.RUNNING
    stop_mode: StopMode = StopMode.HARD
    locked: bool = False
    node: str | None = None
    generation: int = 0
    priority: int = 50
    resets_wanted: int = 0
    reset_mode: StopMode = StopMode.HARD
    observed: Observed = field(default_factory=Observed)
    unplaced_reason: str = ""
    incident_id: int | None = None
    failed_nodes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    user_data: str = ""
    ha: HaPolicy = field(default_factory=HaPolicy)
    needs: PlacementNeeds = field(default_factory=PlacementNeeds)
    #: the node that a live migration brings it to, under the next generation; None while none is under way
    migrating_to: str | None = None
    migration: Migration = field(default_factory=Migration)
    #: its volumes are on its node alone: it starts nowhere else, and waits for that node when it is lost
    local: bool = False
    #: the node that a recovery took it from; empty where it is at home
    home: str = ""
    #: the request or the incident (`incident-17`) that last changed what is wanted of it
    correlation_id: str = ""

    @property
    def next_generation(self) -> int:
        """That of its next placement: above every copy that was ever made, also for a migration that failed."""
        return max(self.generation, self.migration.generation) + 1

    @property
    def wants_to_run(self) -> bool:
        """True when HA owes this VM a running copy: wanted, and not suspended."""
        return self.desired is Desired.RUNNING and not self.locked

    @property
    def seen_current(self) -> bool:
        """True when what was observed speaks of the present placement."""
        return self.observed.generation == self.generation and self.observed.node == self.node

    @property
    def given_up(self) -> bool:
        """True when its node has said that it starts this placement no more, and has not taken that back."""
        return self.seen_current and self.observed.power is PowerSeen.FAILED

    @property
    def verified(self) -> bool:
        """True when the present placement was seen running with a guest that is really alive."""
        return self.seen_current and self.observed.power is PowerSeen.RUNNING and self.observed.verified_at is not None


#: what its node says of a VM that went down by itself while an operator had disarmed automation
FROZEN = "not started again: automation is disarmed"


def was_up(vm: Vm) -> bool:
    """True when the present placement was seen up, and nobody has asked for a new start of it since."""
    up = vm.observed.power in (PowerSeen.RUNNING, PowerSeen.PAUSED) or vm.observed.error == FROZEN
    return vm.seen_current and (up or vm.observed.ended != "")


def no_longer_moving(vm: Vm, *, tries: int = 0, error: str = "") -> Vm:
    """The VM with no migration under way; what failed so far is remembered as told."""
    left = Migration(vm.migration.generation, tries=tries, error=error)
    return replace(vm, migrating_to=None, migration=left)


_SEEN_STATUS = {PowerSeen.RUNNING: Status.RUNNING, PowerSeen.PAUSED: Status.PAUSED}


def status_of(vm: Vm) -> Status:
    """The status that the outside reads, derived from what is wanted and what was seen."""
    if vm.desired is Desired.DELETED:
        return Status.DELETING
    power = vm.observed.power if vm.seen_current else PowerSeen.UNKNOWN
    if not vm.wants_to_run:
        still_up = power in (PowerSeen.RUNNING, PowerSeen.PAUSED, PowerSeen.STARTING)
        return Status.STOPPING if still_up else Status.OFF
    if vm.node is None:
        return Status.UNPLACED
    if power in _SEEN_STATUS:
        return _SEEN_STATUS[power]
    if vm.unplaced_reason:
        return Status.UNPLACED
    if vm.incident_id is not None:
        return Status.RECOVERING
    return Status.INITIALIZING if vm.observed.generation == 0 else Status.STARTING
