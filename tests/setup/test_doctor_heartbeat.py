"""Whose beat goes on, read from a real directory."""

from pathlib import Path

from app.adapters.heartbeat.directory import DirectoryHeartbeat
from app.domain.storage_heartbeat import Beat
from app.setup.doctor_heartbeat import look_at_beats


def _writes(root: Path, node: str, counter: int) -> None:
    DirectoryHeartbeat(root, node).write_beat(Beat(node, f"boot-{node}", counter, quorate=True))


def test_a_beat_that_stands_still_and_one_that_was_never_written_are_found(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for node in ("n1", "n2"):
        _writes(tmp_path, node, 1000)
    seen = look_at_beats(
        DirectoryHeartbeat(tmp_path, "n1"), {"n1", "n2", "n3"}, sleep=lambda _seconds: _writes(tmp_path, "n1", 5000)
    )
    assert seen == {"heartbeats_still": ("n2", "n3")}


def test_a_directory_that_is_not_mounted_is_an_error_of_its_own(tmp_path: Path) -> None:
    seen = look_at_beats(DirectoryHeartbeat(tmp_path, "n1"), {"n1"}, sleep=lambda _seconds: None)
    assert "is the file system mounted?" in seen["heartbeat_error"]
