"""Whose the files of disks are. What libvirt then does with them: tests/ports/hypervisor/test_file_owner.py."""

from pathlib import Path

import pytest
import structlog

from app.adapters.libvirt import file_owner
from app.ports.hypervisor import Disk

CAPABILITIES = """<capabilities><host>
  <secmodel><model>apparmor</model><doi>0</doi></secmodel>
  <secmodel><model>dac</model><doi>0</doi>
    <baselabel type='kvm'>+64055:+108</baselabel><baselabel type='qemu'>+64055:+109</baselabel>
  </secmodel>
</host></capabilities>"""


@pytest.mark.parametrize(("kind", "ids"), [("kvm", (64055, 108)), ("qemu", (64055, 109)), ("test", None)])
def test_the_user_is_read_from_the_capabilities(kind: str, ids: tuple[int, int] | None) -> None:
    assert file_owner.read_ids(CAPABILITIES, kind) == ids


def test_only_files_that_are_not_its_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []
    monkeypatch.setattr("os.chown", lambda *words: given.append(words))
    volume = tmp_path / "vm-1-0"
    volume.touch()
    mine = volume.stat().st_uid
    disks = [Disk("file", str(volume), "qcow2"), Disk("block", "/dev/vg0/vm-1-1", "raw")]
    file_owner.give(disks, (mine, 108))
    assert given == []
    file_owner.give(disks, (mine + 1, 108))
    assert given == [(str(volume), mine + 1, 108)]


def test_one_that_cannot_be_given_is_told_and_left_to_qemu(tmp_path: Path) -> None:
    disk = Disk("file", str(tmp_path / "gone"), "qcow2")
    with structlog.testing.capture_logs() as logs:
        file_owner.give([disk], (64055, 108))
    assert [(line["event"], line["path"]) for line in logs] == [("not given to QEMU's user", disk.path)]
