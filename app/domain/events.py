"""Facts in: everything that the two cores (`coordinator`, `node_agent`) can learn.

Each is a frozen value put into the inbox by a callback or a finished piece of work. Nothing here says
what to do about it. Times in events are seconds of the agent's own monotonic clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from app.domain.cluster import ClusterView, Proof
from app.domain.node import Node
from app.domain.storage_heartbeat import Beat, KeepRecord
from app.domain.vm import Vm

# -- from Corosync


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """libquorum: the node names in this partition, and whether it is quorate."""

    members: frozenset[str]
    quorate: bool


@dataclass(frozen=True, slots=True)
class GroupChanged:
    """CPG: the nodes whose agent is in the group now, those that just came, those that just went."""

    members: frozenset[str]
    joined: frozenset[str]
    left: frozenset[str]


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """A small message from another process of the cluster: "look at this", never what to do.

    `node`: whom it is about, where it is about a node.
    """

    sender: str
    kind: str
    vm_id: int | None = None
    epoch: int = 0
    node: str = ""


# -- from the hypervisor


class DomainState(StrEnum):
    """What libvirt says of a domain. PANICKED: the guest's kernel gave up; QEMU stands still with its disks open."""

    RUNNING = "running"
    PAUSED = "paused"
    PANICKED = "panicked"
    SHUTOFF = "shutoff"


#: there is a QEMU that has the disks open
UP = (DomainState.RUNNING, DomainState.PAUSED, DomainState.PANICKED)


@dataclass(frozen=True, slots=True)
class MoveFact:
    """The newest outgoing migration of a domain that is up here. `error` is empty while it runs. Memory in MiB.

    Its memory goes over in passes, each with what the guest changed in the one before. `remaining_mib` is what is left
    of this pass: None until the target takes anything.
    """

    running: bool
    percent: int = 0
    remaining_mib: int | None = None
    memory_pass: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class DomainFact:
    """One domain of this node. `guest_alive` is None where this hypervisor cannot tell.

    `ended` says why a domain that is off went off: `shutdown` (from inside), `destroyed`, `crashed`, `migrated`, or
    empty.
    `paused_by` says who stopped the CPUs, where it was not us: `io-error`, `watchdog`, or empty. `no_space`: the error
    was that the storage is full; None while that is not known.
    `silent_seconds`: for how long a guest agent that is connected has answered nothing; None while it answers, and
    where none is connected.
    """

    vm_id: int
    generation: int
    state: DomainState
    guest_alive: bool | None = None
    ended: str = ""
    paused_by: str = ""
    silent_seconds: float | None = None
    move: MoveFact | None = None
    no_space: bool | None = None


@dataclass(frozen=True, slots=True)
class DomainsListed:
    """A sweep or a libvirt event: all domains of this node that carry our metadata."""

    domains: tuple[DomainFact, ...]


@dataclass(frozen=True, slots=True)
class HypervisorLost:
    """libvirt does not answer. The VMs run on; nothing can be said about them now."""

    error: str


@dataclass(frozen=True, slots=True)
class DomainChanged:
    """libvirt says that something happened to a domain: list them again."""


@dataclass(frozen=True, slots=True)
class VmWorkDone:
    """One piece of work on a VM (an action of `node_agent`) ended. `error` is empty when it worked."""

    vm_id: int
    generation: int
    work: str
    error: str = ""


# -- from the database


@dataclass(frozen=True, slots=True)
class DesiredLoaded:
    """What the database wants of this node: its own row and the VMs assigned to it.

    `asked_at` is when the reading began: the answer may not be trusted for anything that happened after it.
    `gates`: VMs that must not start yet, and why, see `start_gates`.
    `armed` False: an operator has frozen all automation.
    """

    node: Node | None
    vms: tuple[Vm, ...]
    asked_at: float
    #: VMs of other nodes that are migrating to this one
    incoming: tuple[Vm, ...] = ()
    gates: Mapping[int, str] = field(default_factory=dict)
    armed: bool = True


@dataclass(frozen=True, slots=True)
class ViewLoaded:
    """A fresh ClusterView for the coordinator."""

    view: ClusterView
    asked_at: float


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The database did not answer to `what`."""

    what: str
    error: str


@dataclass(frozen=True, slots=True)
class HealthChecked:
    """What is wrong with this node's disks and pools, one word or phrase each; empty when nothing is. `database`: see
    `Node`; None where the look itself failed.
    """

    problems: tuple[str, ...]
    database: str | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """This node's observations are in the database."""


@dataclass(frozen=True, slots=True)
class RebootAsked:
    """This machine was told to reboot; `error` is empty when it began to."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class UpgradeAsked:
    """This node was told to upgrade its package; `error` is empty when nothing speaks against it."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class EpochWon:
    """This agent is the coordinator of that epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class EpochLost:
    """Another agent holds a newer epoch: step down."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Written:
    """A coordinator's write about `node` (or waiting VMs, when empty) is committed."""

    what: str
    node: str = ""


# -- from fencing


@dataclass(frozen=True, slots=True)
class FenceAttempted:
    """A fencing method ended. `proof` only when it saw the node powered off; else `error` says what it saw."""

    epoch: int
    node: str
    method: str
    proof: Proof | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class FenceRead:
    """A device was read as asked at `asked_at`: `off` None when it could not be read, `said` is what it said."""

    epoch: int
    node: str
    method: str
    off: bool | None
    said: str = ""
    asked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class StorageRestored:
    """The node has its pools again, and that is written; or not, and `error` says why."""

    node: str
    error: str = ""


# -- from the heartbeat over storage


@dataclass(frozen=True, slots=True)
class BeatWritten:
    """This node's beat is on the storage."""


@dataclass(frozen=True, slots=True)
class KeepsRead:
    """What every node said last as the coordinator. `boot` is this node's, see `Beat`."""

    records: tuple[KeepRecord, ...]
    boot: str


@dataclass(frozen=True, slots=True)
class BeatsRead:
    """Every node's newest beat, by a reading that began at `asked_at`. `boot` is this node's."""

    beats: tuple[Beat, ...]
    boot: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class KeepsWritten:
    """What this node has to say as the coordinator of that epoch is on the storage."""

    epoch: int


@dataclass(frozen=True, slots=True)
class HeartbeatFailed:
    """The storage did not take or give: `what` is `beat`, `lease`, `beats` or `keeps`."""

    what: str
    error: str


Event = (
    MembershipChanged
    | GroupChanged
    | SignalReceived
    | DomainsListed
    | HypervisorLost
    | DomainChanged
    | VmWorkDone
    | DesiredLoaded
    | ViewLoaded
    | StoreLost
    | Reported
    | HealthChecked
    | RebootAsked
    | UpgradeAsked
    | EpochWon
    | EpochLost
    | Written
    | FenceAttempted
    | FenceRead
    | StorageRestored
    | BeatWritten
    | KeepsRead
    | BeatsRead
    | KeepsWritten
    | HeartbeatFailed
)
