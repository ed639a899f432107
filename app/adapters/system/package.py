"""The Debian package of this software, upgraded by a unit of systemd's.

Not by the agent itself: the new package restarts the agent, which would take apt away with it, and the agent's sandbox
lets it write no programs. `holdfast-upgrade@VERSION.service` runs outside of both, and its output is in the journal.
"""

import re
import subprocess
from collections.abc import Sequence

from app.ports.package import UpgradeRefused

UNIT = "holdfast-upgrade@{version}.service"
#: PEP 440 without local versions, as in pyproject.toml: nothing of it has a meaning for systemd or a shell
VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)?")


class DebianPackage:
    """`command` is run with the unit's name behind it, and waits until that unit has ended."""

    def __init__(
        self,
        command: Sequence[str] = ("systemctl", "start"),
        *,
        timeout_seconds: float = 1800.0,
    ) -> None:
        self._command, self._timeout_seconds = tuple(command), timeout_seconds

    def upgrade(self, version: str) -> None:
        """See `Package.upgrade`."""
        if not VERSION.fullmatch(version):
            raise UpgradeRefused(f"{version!r} is no version, as in 1.2.0")
        unit = UNIT.format(version=version)
        try:
            done = subprocess.run(
                (*self._command, unit), capture_output=True, check=False, timeout=self._timeout_seconds
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UpgradeRefused(f"{unit}: {error}") from error
        if done.returncode != 0:
            raise UpgradeRefused(f"{unit} failed (exit code {done.returncode}): `journalctl -u {unit}` says why")
