"""The package is upgraded by a unit; what that says against it is passed on."""

from pathlib import Path

import pytest

from app.adapters.system.package import DebianPackage
from app.ports.package import UpgradeRefused


@pytest.fixture
def systemctl(tmp_path: Path) -> Path:
    """A systemd of one unit: its state is in the file `state`, what was asked for in `asked`."""
    program = tmp_path / "systemctl"
    program.write_text(
        f"""#!/bin/sh
        echo "$@" >> {tmp_path}/asked
        case "$1" in show) cat {tmp_path}/state;; reset-failed) echo inactive > {tmp_path}/state;; esac
        """
    )
    program.chmod(0o755)
    (tmp_path / "state").write_text("inactive\n")
    return program


def _asked(systemctl: Path) -> list[str]:
    """What changed something."""
    lines = (systemctl.parent / "asked").read_text().splitlines()
    return [line for line in lines if not line.startswith("show")]


def test_the_unit_of_that_version_is_started_and_not_waited_for(systemctl: Path) -> None:
    package = DebianPackage((str(systemctl),))
    package.upgrade("1.2.0rc1")
    assert _asked(systemctl) == ["start --no-block holdfast-upgrade@1.2.0rc1.service"]
    (systemctl.parent / "state").write_text("activating\n")
    package.upgrade("1.2.0rc1")
    assert len(_asked(systemctl)) == 1, "it runs already"


def test_one_that_failed_says_where_to_look_and_may_be_tried_again(systemctl: Path) -> None:
    package = DebianPackage((str(systemctl),))
    (systemctl.parent / "state").write_text("failed\n")
    with pytest.raises(
        UpgradeRefused, match=r"holdfast-upgrade@1\.2\.service failed: `journalctl -u holdfast-upgrade@"
    ):
        package.upgrade("1.2")
    package.upgrade("1.2")
    assert _asked(systemctl) == [
        f"{verb} holdfast-upgrade@1.2.service" for verb in ("reset-failed", "start --no-block")
    ]


@pytest.mark.parametrize("version", ["", "1.2.0; reboot", "1/../2", "1.2.0+local", "--now", "1.2\n"])
def test_what_is_no_version_never_reaches_systemd(version: str) -> None:
    with pytest.raises(UpgradeRefused, match="is no version"):
        DebianPackage(("no-such-program",)).upgrade(version)


def test_a_systemd_that_does_not_answer_is_a_refusal() -> None:
    with pytest.raises(UpgradeRefused, match=r"false show .*: exit code 1"):
        DebianPackage(("false",)).upgrade("1.2")
    with pytest.raises(UpgradeRefused, match="no-such-program"):
        DebianPackage(("no-such-program",)).upgrade("1.2")
    with pytest.raises(UpgradeRefused, match="timed out"):
        DebianPackage(("sh", "-c", "sleep 60"), timeout_seconds=0.1).upgrade("1.2")
