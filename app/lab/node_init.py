"""The first process of a lab node: makes its view of the disk, then starts daemons as its unit files say.

Run inside the node's new network, mount and UTS namespaces. It plays systemd for the node: restarts what should
run, reaps orphans (QEMUs of a restarted libvirtd), and dies with all the rest when the power is cut.
SIGHUP: look at the unit files again.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path

from app.lab.errors import LabError
from app.lab.paths import POOL_IN_NODE, PRIVATE_DIRECTORIES, LabPaths, NodePaths
from app.lab.processes import Process
from app.lab.spawn import spawn
from app.lab.units import UnitState, load_units, save_unit_state

# mount(2), prctl(2)
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
PR_SET_CHILD_SUBREAPER = 36
RESTART_AFTER_SECONDS = 0.5
LOOK_EVERY_SECONDS = 0.5

_libc = ctypes.CDLL(None, use_errno=True)


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    text = [value.encode() if value is not None else None for value in (source, target, kind, data)]
    if _libc.mount(text[0], text[1], text[2], ctypes.c_ulong(flags), text[3]) != 0:
        raise LabError(f"mount {source} on {target}: {os.strerror(ctypes.get_errno())}")


def _bind(source: Path, target: str) -> None:
    _mount(str(source), target, None, MS_BIND)


def make_view(lab: LabPaths, node: NodePaths) -> None:
    """Bind the node's own directories over the host's; the pool is the same for all nodes."""
    for target, name in PRIVATE_DIRECTORIES.items():
        _bind(node.directory / name, target)
    _bind(lab.pool, POOL_IN_NODE)
    _bind(node.hosts, "/etc/hosts")
    # a node's own boot id, new at each power-on, as a real machine has
    _bind(node.boot_id, "/proc/sys/kernel/random/boot_id")
    # libqb keeps its rings there: with the node's last process they are gone
    _mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777")  # noqa: S108
    if os.path.exists("/dev/kvm"):
        # A lab emulates: the machine's own KVM must not be picked up by accident. Something that looks usable there
        # makes libvirt find its cached capabilities (no KVM) out of date and probe QEMU again at every start: 4.5 s.
        # On a read-only mount even root is told that it is not (access(2), EROFS).
        _bind(node.boot_id, "/dev/kvm")
        _mount("none", "/dev/kvm", None, MS_REMOUNT | MS_BIND | MS_RDONLY)


class NodeInit:
    """One round: reap what died, start what should run."""

    def __init__(self, lab: LabPaths, node: NodePaths) -> None:
        self._lab = lab
        self._node = node
        self._states: dict[str, UnitState] = {}
        self._not_before: dict[str, float] = {}
        self._requests_seen: dict[str, int] = {}

    def round(self) -> None:
        self._reap()
        now = time.monotonic()
        for name, unit in load_units(self._node).items():
            state = self._states.get(name, UnitState(None, 0, ()))
            if not unit.enabled or state.process is not None:
                continue
            asked = unit.start_requests != self._requests_seen.get(name)
            if asked or (unit.restart and now >= self._not_before.get(name, 0.0)):
                self._requests_seen[name] = unit.start_requests
                self._start(name, unit.argv, state)

    def _start(self, name: str, argv: tuple[str, ...], state: UnitState) -> None:
        process = spawn(list(argv), self._lab.directory, self._node.log / f"{name}.log")
        self._put(name, UnitState(process, state.starts + 1, state.exits))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name, state in self._states.items():
                if state.process is not None and state.process.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._put(name, UnitState(None, state.starts, (*state.exits, code)))
                    self._not_before[name] = time.monotonic() + RESTART_AFTER_SECONDS

    def _put(self, name: str, state: UnitState) -> None:
        self._states[name] = state
        save_unit_state(self._node, name, state)


def main(argv: list[str]) -> None:
    directory, name = argv
    lab = LabPaths(Path(directory))
    node = lab.node(name)
    signals = {signal.SIGCHLD, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    socket.sethostname(name)
    make_view(lab, node)
    os.chdir("/")
    (node.directory / "ready").write_text(str(Process.of(os.getpid()).pid))
    init = NodeInit(lab, node)
    while True:
        init.round()
        signal.sigtimedwait(signals, LOOK_EVERY_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
