"""The package is upgraded by a unit; what that says against it is passed on."""

from pathlib import Path

import pytest

from app.adapters.system.package import DebianPackage
from app.ports.package import UpgradeRefused


def test_the_unit_of_that_version_is_started(tmp_path: Path) -> None:
    said = tmp_path / "said"
    DebianPackage(("sh", "-c", f'echo "$0" > {said}')).upgrade("1.2.0rc1")
    assert said.read_text() == "holdfast-upgrade@1.2.0rc1.service\n"


@pytest.mark.parametrize("version", ["", "1.2.0; reboot", "1/../2", "1.2.0+local", "--now", "1.2\n"])
def test_what_is_no_version_never_reaches_systemd(version: str) -> None:
    with pytest.raises(UpgradeRefused, match="is no version"):
        DebianPackage(("false",)).upgrade(version)


def test_a_unit_that_fails_says_where_to_look() -> None:
    with pytest.raises(UpgradeRefused, match=r"holdfast-upgrade@1\.2\.service failed \(exit code 1\): `journalctl -u"):
        DebianPackage(("false",)).upgrade("1.2")
    with pytest.raises(UpgradeRefused, match="no-such-program"):
        DebianPackage(("no-such-program",)).upgrade("1.2")
    with pytest.raises(UpgradeRefused, match="timed out"):
        DebianPackage(("sh", "-c", "sleep 60"), timeout_seconds=0.1).upgrade("1.2")
