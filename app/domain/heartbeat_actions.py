"""What the two cores can ask for about the heartbeat over storage, see `actions` and `storage_heartbeat`."""

from dataclasses import dataclass

from app.domain.storage_heartbeat import Keep


@dataclass(frozen=True, slots=True)
class WriteBeat:
    """Say on the storage that this node lives, see `Beat` -> BeatWritten | HeartbeatFailed("beat")."""

    counter: int
    quorate: bool
    storage_ok: bool
    gave_up: bool
    vms: int | None


@dataclass(frozen=True, slots=True)
class ReadKeeps:
    """Read from the storage what coordinators say -> KeepsRead | HeartbeatFailed("lease")."""


@dataclass(frozen=True, slots=True)
class ReadBeats:
    """Read every node's beat from the storage -> BeatsRead | HeartbeatFailed("beats"). `asked_at`: when it begins."""

    asked_at: float


@dataclass(frozen=True, slots=True)
class WriteKeeps:
    """Say on the storage whose VMs may run on, each by the beat that it echoes, and whose may no more
    -> KeepsWritten | HeartbeatFailed("keeps").
    """

    epoch: int
    keeps: tuple[tuple[str, Keep], ...]
    revoked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoteClass:
    """Write what the node is by both heartbeats into its row and its open incident -> Written("class").

    `what`: a `NodeClass`, or KEEP_ENDED.
    """

    epoch: int
    node: str
    what: str
    detail: str
