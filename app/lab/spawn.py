"""Start a long-lived process of the lab: own session, output to a file, marked with its lab."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from app.lab.processes import MARKER, Process


def environment(lab_directory: Path) -> dict[str, str]:
    """What the lab's processes see: nothing of the caller's but where programs are."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        MARKER: str(lab_directory),
    }


def spawn(argv: list[str], lab_directory: Path, log: Path) -> Process:
    """posix_spawn, not Popen: nobody waits for these, they outlive the caller."""
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o640),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawnp(
        argv[0], argv, environment(lab_directory), file_actions=actions, setsid=True, setsigdef=range(1, 32)
    )
    return Process.of(pid)


def reap(process: Process) -> None:
    """Collect a child that ended; nothing happens when it is somebody else's or still runs."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
