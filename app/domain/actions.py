"""Intents out: everything that the two cores can ask for. `engine/execute.py` turns each into one port call.

An action never waits: its result comes back as an event. Losing one costs a sweep interval and nothing else,
for both cores decide by level (what is, what should be), not by edge.
"""

from dataclasses import dataclass

from app.domain.cluster import Proof
from app.domain.fence_actions import CutStorage, Fence, ReadFence, ReadStorage, RestoreStorage, SoftFence
from app.domain.heartbeat_actions import NoteClass, ReadBeats, ReadKeeps, WriteBeat, WriteKeeps
from app.domain.migration import MoveEnd
from app.domain.moves import MovePlan
from app.domain.recovery import RecoveryPlan
from app.domain.rolling_steps import Turn
from app.domain.vm import PowerSeen, StopMode, Vm

# -- this node


@dataclass(frozen=True, slots=True)
class FeedWatchdog:
    """Keep this node alive for another watchdog timeout. Always the last action of a step."""


@dataclass(frozen=True, slots=True)
class ListDomains:
    """Ask libvirt for all domains -> DomainsListed | HypervisorLost."""


@dataclass(frozen=True, slots=True)
class LoadDesired:
    """Read this node's row and VMs -> DesiredLoaded | StoreLost."""


@dataclass(frozen=True, slots=True)
class StartVm:
    """Make the volumes if missing, define, start -> VmWorkDone("start").

    Must not begin after `not_after` (monotonic seconds): the reading of the database that allows it is too old then.
    """

    vm: Vm
    not_after: float


@dataclass(frozen=True, slots=True)
class StopVm:
    """ACPI: ask the guest; HARD: destroy at once -> VmWorkDone("stop"). `correlation_id`: why, for the log."""

    vm_id: int
    generation: int
    mode: StopMode
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class DestroyVm:
    """Kill this copy now and forget its definition; the volumes stay -> VmWorkDone("destroy")."""

    vm_id: int
    generation: int
    reason: str


@dataclass(frozen=True, slots=True)
class PauseVm:
    """Stop the CPUs of this copy -> VmWorkDone("pause")."""

    vm_id: int
    generation: int


@dataclass(frozen=True, slots=True)
class ResumeVm:
    """Let the CPUs run again; same `not_after` as StartVm -> VmWorkDone("resume")."""

    vm_id: int
    generation: int
    not_after: float


@dataclass(frozen=True, slots=True)
class ResetVm:
    """ACPI: ask the guest to reboot; HARD: the reset button -> VmWorkDone("reset"). `correlation_id` as in StopVm."""

    vm_id: int
    generation: int
    mode: StopMode
    correlation_id: str = ""


@dataclass(frozen=True, slots=True)
class MigrateVm:
    """Begin the live migration to `vm.migrating_to`; it goes on by itself -> VmWorkDone("migrate").

    Same `not_after` as StartVm.
    """

    vm: Vm
    not_after: float


@dataclass(frozen=True, slots=True)
class AbortMove:
    """Ask the hypervisor to give up the migration that is under way -> VmWorkDone("abort")."""

    vm_id: int
    generation: int
    why: str


@dataclass(frozen=True, slots=True)
class NoteMove:
    """Write how far the migration is, in percent -> Written("move-17") | StoreLost."""

    vm_id: int
    generation: int
    passenger: int
    percent: int


@dataclass(frozen=True, slots=True)
class EndMove:
    """Attest how the migration ended (see `migration`) -> Written("move-17") | StoreLost."""

    vm_id: int
    generation: int
    passenger: int
    how: MoveEnd
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseVm:
    """Attest that nothing of this VM is here: it is to run elsewhere -> Written("move-17") | StoreLost."""

    vm_id: int
    generation: int


@dataclass(frozen=True, slots=True)
class RemoveVm:
    """Remove the definition and the volumes of a deleted VM, then its row -> VmWorkDone("remove")."""

    vm: Vm


@dataclass(frozen=True)  # no slots: see `replace`
class VmSeen:
    """What this node sees of one VM that is assigned to it.

    `ended` (a `policy.End`): it went down or hangs, nobody had asked for it, and it has not run well since. `ends`
    counts all such ends of this VM, `ends_in_a_row` those that it did not run well for long between.
    `tried_long`: its start fails here for so long that nodes where it failed before deserve another chance.
    """

    vm_id: int
    generation: int
    power: PowerSeen
    verified: bool = False
    error: str = ""
    resets_done: int = 0
    ended: str = ""
    ends: int = 0
    ends_in_a_row: int = 0
    tried_long: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """Write what this node saw -> Reported | StoreLost. `health` is "ok", or what is wrong, joined by comma;
    `database` as in `Node`, None: not looked at yet.
    """

    seen: tuple[VmSeen, ...]
    health: str
    database: str | None = None


@dataclass(frozen=True, slots=True)
class CheckHealth:
    """Look at disks and pools of this node -> HealthChecked."""


@dataclass(frozen=True, slots=True)
class Rejoin:
    """This node is FENCED, has proven itself clean and asks to host again -> Written("rejoin") | StoreLost."""


@dataclass(frozen=True, slots=True)
class RebootNode:
    """Reboot this machine if it still is in that boot -> RebootAsked."""

    boot_id: str


@dataclass(frozen=True, slots=True)
class UpgradeNode:
    """Upgrade this node's package if it is of another version -> UpgradeAsked."""

    version: str


# -- the coordinator


@dataclass(frozen=True, slots=True)
class Campaign:
    """Try to win the epoch row -> EpochWon | EpochLost | StoreLost."""


@dataclass(frozen=True, slots=True)
class LoadView:
    """Read a ClusterView -> ViewLoaded | StoreLost."""


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """Mark the node LOST and open its incident -> Written("open"). `silent`: it is a member, and its agent is not."""

    epoch: int
    node: str
    detected_seconds_ago: float
    silent: bool = False


@dataclass(frozen=True, slots=True)
class CancelIncident:
    """The node came back before any proof: ONLINE again, incident closed -> Written("cancel")."""

    epoch: int
    node: str


@dataclass(frozen=True, slots=True)
class VoidProof:
    """The proof of that method was false: back to fencing, and say so loudly -> Written("void")."""

    epoch: int
    node: str
    method: str
    why: str


@dataclass(frozen=True, slots=True)
class HoldFence:
    """The storm guard holds the fence of this node: write it down, once, and tell operators -> Written("hold")."""

    epoch: int
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class EndQuarantine:
    """The quarantine of the node is over -> Written("release")."""

    epoch: int
    node: str


@dataclass(frozen=True, slots=True)
class NoteStep:
    """Write a step into the open incident of the node -> Written("note")."""

    epoch: int
    node: str
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class RecordProof:
    """Store the proof in the node's incident -> Written("proof")."""

    epoch: int
    node: str
    proof: Proof


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """Write the plan in one transaction; with a node: it is FENCED by this -> Written("plan")."""

    epoch: int
    plan: RecoveryPlan


@dataclass(frozen=True, slots=True)
class CommitMoves:
    """Begin migrations, and cancel those that have become pointless -> Written("moves")."""

    epoch: int
    plan: MovePlan


@dataclass(frozen=True, slots=True)
class AdvanceRolling:
    """The next write of a rolling reboot or upgrade -> Written("rolling")."""

    epoch: int
    turn: Turn


@dataclass(frozen=True, slots=True)
class CloseIncident:
    """Every VM of the incident is verified, or no longer wanted -> Written("close")."""

    epoch: int
    node: str
    incident_id: int


@dataclass(frozen=True, slots=True)
class SendSignal:
    """Over the ring, to all agents: `kind` is "look" (at the database), "lead" (an epoch is held) or "here".

    "here" shows the sender that the ring turns, and the others that it lives; `epoch` then says when it was sent, in
    milliseconds of the sender's clock.
    """

    kind: str
    epoch: int = 0


Action = (
    FeedWatchdog
    | ListDomains
    | LoadDesired
    | StartVm
    | StopVm
    | DestroyVm
    | PauseVm
    | ResumeVm
    | ResetVm
    | RemoveVm
    | MigrateVm
    | AbortMove
    | NoteMove
    | EndMove
    | ReleaseVm
    | Report
    | CheckHealth
    | Rejoin
    | RebootNode
    | UpgradeNode
    | Campaign
    | LoadView
    | OpenIncident
    | CancelIncident
    | Fence
    | ReadFence
    | CutStorage
    | ReadStorage
    | RestoreStorage
    | SoftFence
    | VoidProof
    | HoldFence
    | EndQuarantine
    | NoteStep
    | RecordProof
    | CommitPlan
    | CommitMoves
    | AdvanceRolling
    | CloseIncident
    | SendSignal
    | WriteBeat
    | ReadKeeps
    | ReadBeats
    | WriteKeeps
    | NoteClass
)
