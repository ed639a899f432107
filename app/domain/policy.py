"""What is asked for one VM beyond its size: how HA treats it, and where it may be.

Both are values in the VM's row. A field that an older version does not know keeps its default there.
"""

from dataclasses import dataclass
from enum import StrEnum


class HaClass(StrEnum):
    """`guaranteed` VMs are what the capacity promise is about; `best-effort` ones come back when there is room."""

    GUARANTEED = "guaranteed"
    BEST_EFFORT = "best-effort"


class QuorumLoss(StrEnum):
    """What a node that lost its quorum does with this VM.

    `pause`: pause at once, destroy at the self-fence deadline. `stop`: destroy at once. `keep`: runs on, allowed only
    for a VM whose volumes no other node can reach.
    """

    PAUSE = "pause"
    STOP = "stop"
    KEEP = "keep"


class End(StrEnum):
    """How a VM can end without anybody having asked for it."""

    CRASHED = "crashed"
    SHUTDOWN = "shutdown"
    PANICKED = "panicked"
    HUNG = "hung"
    DISK_FAILED = "disk_failed"


END_WORDS = {
    End.CRASHED: "its QEMU died",
    End.SHUTDOWN: "its guest switched itself off",
    End.PANICKED: "its guest panicked",
    End.HUNG: "its guest hangs",
    End.DISK_FAILED: "its QEMU cannot use its disk any more, though the pool is well",
}


class AfterEnd(StrEnum):
    """What follows when a VM goes down, or stops answering, without anybody having asked for it.

    `ignore` leaves a guest that panicked or hangs as it is, for whoever wants to look at it; a VM that is off cannot
    be left as it is, there it means `stop`.
    """

    RESTART = "restart"
    STOP = "stop"
    IGNORE = "ignore"


class AfterIoError(StrEnum):
    """A VM that QEMU paused because its disk failed: resumed once its pool is well here, or kept for an operator.

    One whose resumes all fail though its pool is well and has room is started anew: its QEMU lost what it had open (a
    lock on NFS, after an outage longer than the server's lease), and no resume brings that back.
    """

    RESUME = "resume"
    KEEP = "keep"


#: so often in a row a VM that ends by itself is restarted where it is; at the next end it goes elsewhere, once
RESTARTS_IN_PLACE = 3


@dataclass(frozen=True, slots=True)
class HaPolicy:
    """How HA treats a VM. Times in seconds; 0 switches the rule off.

    `guest_silence_seconds`: a guest agent that answered before and is silent for longer counts as a hang.
    `restart_hold_seconds`: after the loss of its node the VM waits this long for the node before it goes elsewhere.
    `waits_for`: ids of VMs that must be verified up before this one is started in a recovery.
    `failback`: back to the node it came from, when that is well again.
    """

    ha_class: HaClass = HaClass.GUARANTEED
    on_quorum_loss: QuorumLoss = QuorumLoss.PAUSE
    on_crash: AfterEnd = AfterEnd.RESTART
    on_guest_shutdown: AfterEnd = AfterEnd.STOP
    on_panic: AfterEnd = AfterEnd.RESTART
    on_hang: AfterEnd = AfterEnd.RESTART
    guest_silence_seconds: float = 0.0
    restart_hold_seconds: float = 0.0
    waits_for: tuple[int, ...] = ()
    failback: bool = False
    on_io_error: AfterIoError = AfterIoError.RESUME

    def after(self, end: End) -> AfterEnd:
        """What follows that end."""
        after = {
            End.CRASHED: self.on_crash,
            End.SHUTDOWN: self.on_guest_shutdown,
            End.PANICKED: self.on_panic,
            End.HUNG: self.on_hang,
            End.DISK_FAILED: AfterEnd.RESTART,
        }[end]
        off = end in (End.CRASHED, End.SHUTDOWN)
        return AfterEnd.STOP if off and after is AfterEnd.IGNORE else after


@dataclass(frozen=True, slots=True)
class PlacementNeeds:
    """Where a VM may be. Empty means no demand.

    `tags` a node must have, `avoid_tags` it must not have; `networks` it must reach; `cpu_model` it must offer;
    `groups` are names of placement groups of the VM's project.
    """

    tags: tuple[str, ...] = ()
    avoid_tags: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    cpu_model: str = ""
    groups: tuple[str, ...] = ()
