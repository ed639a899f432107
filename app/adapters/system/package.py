"""The Debian package of this software, upgraded by a unit of systemd's.

Not by the agent itself: the new package restarts the agent, which would take apt away with it, and the agent's sandbox
lets it write no programs. `holdfast-upgrade@VERSION.service` runs outside of both, and its output is in the journal.
Nor is it waited for: an agent that waits cannot be restarted in good time.
"""

import re
import subprocess
from collections.abc import Sequence

from app.ports.package import UpgradeRefused

UNIT = "holdfast-upgrade@{version}.service"
#: PEP 440 without local versions, as in pyproject.toml: nothing of it has a meaning for systemd or a shell
VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc|\.post|\.dev)\d+)?")


class DebianPackage:
    """`systemctl` is what is run, with a verb and the unit behind it."""

    def __init__(self, systemctl: Sequence[str] = ("systemctl",), *, timeout_seconds: float = 30.0) -> None:
        self._systemctl, self._timeout_seconds = tuple(systemctl), timeout_seconds

    def upgrade(self, version: str) -> None:
        """See `Package.upgrade`. A unit that has failed is a refusal once; asked again, it is started again."""
        if not VERSION.fullmatch(version):
            raise UpgradeRefused(f"{version!r} is no version, as in 1.2.0")
        unit = UNIT.format(version=version)
        state = self._ask("show", "--property=ActiveState", "--value", unit)
        if state == "failed":
            self._ask("reset-failed", unit)
            raise UpgradeRefused(f"{unit} failed: `journalctl -u {unit}` says why")
        if state != "activating":
            self._ask("start", "--no-block", unit)

    def _ask(self, *words: str) -> str:
        told = " ".join((*self._systemctl, *words))
        try:
            done = subprocess.run(
                (*self._systemctl, *words), capture_output=True, check=False, timeout=self._timeout_seconds
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UpgradeRefused(f"{told}: {error}") from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise UpgradeRefused(f"{told}: {said}")
        return done.stdout.decode(errors="replace").strip()
