"""Processes by identity: a pid alone may be somebody else's tomorrow, so a process is pid + start time."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from app.lab.errors import LabError

# Every process the lab starts carries this, so that `down` finds even one whose record was lost in a crash.
MARKER = "HOLDFAST_LAB_DIRECTORY"


@dataclass(frozen=True)
class Process:
    """`start_ticks` is field 22 of /proc/PID/stat (proc(5)): clock ticks since boot."""

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Errors: ProcessLookupError when no such process."""
        fields = _stat(pid)
        if fields is None:
            raise ProcessLookupError(pid)
        return cls(pid, int(fields[19]))

    def is_alive(self) -> bool:
        """A zombie has let go of everything it held, so it counts as gone."""
        fields = _stat(self.pid)
        return fields is not None and int(fields[19]) == self.start_ticks and fields[0] not in "ZX"

    def send(self, signal_number: int) -> None:
        """Nothing happens when it is gone already."""
        if self.is_alive():
            _kill(self.pid, signal_number)


def _stat(pid: int) -> list[str] | None:
    """The fields after the command name: [0] is the state."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _kill(pid: int, signal_number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal_number)


def _pids() -> Iterable[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def in_network_namespace(inode: int) -> list[int]:
    """The pids in a network namespace; zombies have none and are not listed."""
    link = f"net:[{inode}]"
    found = []
    for pid in _pids():
        try:
            if os.readlink(f"/proc/{pid}/ns/net") == link:
                found.append(pid)
        except OSError:
            continue
    return found


def marked(directory: Path) -> list[int]:
    """The pids of the processes that this lab started, wherever they are."""
    mark = f"{MARKER}={directory}".encode()
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if mark in environment.split(b"\0"):
            found.append(pid)
    return found


def kill_all(find: Callable[[], list[int]], timeout_seconds: float = 10.0) -> int:
    """SIGKILL what `find` lists until it lists nothing; the caller itself goes last. Returns how many were hit.

    Errors: LabError when something is still there at the deadline.
    """
    me = os.getpid()
    hit: set[int] = set()
    deadline = time.monotonic() + timeout_seconds
    while True:
        pids = find()
        others = [pid for pid in pids if pid != me]
        if not others:
            if pids:
                os.kill(me, signal.SIGKILL)
            return len(hit)
        if time.monotonic() > deadline:
            raise LabError(f"processes {others} are still there {timeout_seconds} s after SIGKILL")
        for pid in others:
            _kill(pid, signal.SIGKILL)
        hit.update(others)
        time.sleep(0.005)


def stop_all(find: Callable[[], list[int]], timeout_seconds: float = 5.0) -> int:
    """SIGSTOP what `find` lists until all of it is stopped (a fork may slip through one pass)."""
    deadline = time.monotonic() + timeout_seconds
    while True:
        pids = [pid for pid in find() if pid != os.getpid()]
        running = [pid for pid in pids if (fields := _stat(pid)) is not None and fields[0] not in "TtZX"]
        if not running:
            return len(pids)
        if time.monotonic() > deadline:
            raise LabError(f"processes {running} do not stop")
        for pid in running:
            _kill(pid, signal.SIGSTOP)
        time.sleep(0.005)


def continue_all(pids: Iterable[int]) -> None:
    for pid in pids:
        _kill(pid, signal.SIGCONT)
