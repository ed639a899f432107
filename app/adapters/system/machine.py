"""This machine as the kernel describes it."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from app.ports.machine import RebootRefused


def memory_mib() -> int:
    """Physical memory in MiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def boot_id() -> str:
    """Random for each boot of the kernel: proc(5), /proc/sys/kernel/random/boot_id."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


class SystemdMachine:
    """Reboots by systemd, in order: what holds the shutdown back (`holdfast node shutdown-hook`) is waited for.

    `command` is what is run; it returns as soon as the reboot is under way.
    """

    def __init__(self, command: Sequence[str] = ("systemctl", "reboot"), *, timeout_seconds: float = 30.0) -> None:
        self._command, self._timeout_seconds = command, timeout_seconds

    def reboot(self) -> None:
        """See `Machine.reboot`."""
        try:
            done = subprocess.run(self._command, capture_output=True, check=False, timeout=self._timeout_seconds)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RebootRefused(f"{' '.join(self._command)}: {error}") from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise RebootRefused(f"{' '.join(self._command)}: {said}")
