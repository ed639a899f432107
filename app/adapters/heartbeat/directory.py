"""Records as files of a shared directory: `NODE.beat` and `NODE.keeps`, one writer each.

A file is written beside its place, synced and renamed over it: a reader sees the old one or the new one, whole. NFS
shows a renamed file to whoever opens it later (close-to-open), unless it is mounted with `nocto`.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from app.domain.storage_heartbeat import Beat, KeepRecord
from app.ports.storage_heartbeat import HeartbeatLost

V = TypeVar("V")
_BEAT, _KEEPS = TypeAdapter(Beat), TypeAdapter(KeepRecord)
#: no record is longer; what is was not written by us
_BYTES_MAX = 1_000_000


class DirectoryHeartbeat:
    """The port on `root/heartbeat`. `root` is a pool's directory: it is mounted when its `images` is there.

    The directory is made only then: in a mount point without its file system each node would see itself alone.
    """

    def __init__(self, root: Path, node: str) -> None:
        self._root, self._node = root, node
        self._directory = root / "heartbeat"

    def write_beat(self, beat: Beat) -> None:
        """See `StorageHeartbeat.write_beat`."""
        self._asked("write the beat", lambda: self._write(f"{self._node}.beat", _BEAT.dump_json(beat)))

    def beats(self) -> Sequence[Beat]:
        """See `StorageHeartbeat.beats`."""
        found = self._asked("read the beats", lambda: self._read(".beat"))
        return [b for name, text in found if (b := _understood(_BEAT, text)) is not None and b.node == name]

    def write_keeps(self, record: KeepRecord) -> None:
        """See `StorageHeartbeat.write_keeps`."""
        self._asked("write the keeps", lambda: self._write(f"{self._node}.keeps", _KEEPS.dump_json(record)))

    def keeps(self) -> Sequence[KeepRecord]:
        """See `StorageHeartbeat.keeps`. One that is not understood may be of the newest epoch, so nothing is known."""
        records = []
        for name, text in self._asked("read the keeps", lambda: self._read(".keeps")):
            record = _understood(_KEEPS, text)
            if record is None:
                raise HeartbeatLost(
                    f"{self._directory / name}.keeps is not understood: is its node of a newer version?"
                )
            records.append(record)
        return records

    def _asked(self, what: str, work: Callable[[], V]) -> V:
        try:
            if not (self._root / "images").is_dir():
                raise HeartbeatLost(f"cannot {what}: {self._root}/images does not exist: is the file system mounted?")
            self._directory.mkdir(mode=0o700, exist_ok=True)
            return work()
        except OSError as error:
            raise HeartbeatLost(f"cannot {what} in {self._directory}: {error.strerror}") from error

    def _write(self, name: str, data: bytes) -> None:
        new = self._directory / f".{name}.new"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._directory / name)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _read(self, suffix: str) -> list[tuple[str, bytes]]:
        """The node and the text of each record."""
        found = []
        for path in sorted(self._directory.glob(f"[!.]*{suffix}")):
            with path.open("rb") as file:
                found.append((path.name.removesuffix(suffix), file.read(_BYTES_MAX + 1)))
        return found


def _understood(kind: TypeAdapter[V], text: bytes) -> V | None:
    try:
        return kind.validate_json(text) if len(text) <= _BYTES_MAX else None
    except ValidationError:
        return None
