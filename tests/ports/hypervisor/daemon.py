"""A libvirtd of the test's own: private directories in a mount namespace, a PID namespace that ends with it."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

#: Kept between runs: libvirt's knowledge of QEMU, 5-8 s to find out.
CAPABILITIES = Path("/var/cache/holdfast-lab/test-libvirt-capabilities")
PRIVATE = {"etc": "/etc/libvirt", "run": "/run/libvirt", "lib": "/var/lib/libvirt", "log": "/var/log/libvirt"}
#: The first process of the namespace: reaps every QEMU that libvirtd leaves behind, else they stay zombies.
REAPER = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
print("ready", flush=True)
while True:
    signal.sigwait({signal.SIGCHLD})
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
"""
LIBVIRTD_CONF = """listen_tls = 0
listen_tcp = 0
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
auth_unix_ro = "none"
host_uuid = "{host_uuid}"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
QEMU_CONF = """user = "{user}"
group = "{user}"
security_driver = "none"
dynamic_ownership = {dynamic_ownership:d}
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""


def wait_for(what: str, condition: Callable[[], object], timeout_seconds: float = 30.0) -> None:
    """Poll until the condition holds; fails naming `what`."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"no {what} within {timeout_seconds:g} s"
        time.sleep(0.05)


class Libvirtd:
    """`start`, `kill` and `freeze` the daemon; QEMUs live on until `close`.

    `user`: whom its QEMUs run as, and, unless that is root, whom it gives their files to.
    """

    def __init__(self, directory: Path, capabilities: Path = CAPABILITIES, *, user: str = "root") -> None:
        self.directory = directory
        self._daemon: subprocess.Popen[bytes] | None = None
        self._pid = 0
        for name in (*PRIVATE, "etc/qemu", "lib/qemu", "log/qemu"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        capabilities.mkdir(parents=True, exist_ok=True)
        (directory / "etc/libvirtd.conf").write_text(LIBVIRTD_CONF.format(host_uuid=uuid.uuid4()))
        (directory / "etc/qemu.conf").write_text(QEMU_CONF.format(user=user, dynamic_ownership=user != "root"))
        mounts = {str(directory / name): target for name, target in PRIVATE.items()}
        mounts[str(capabilities)] = "/var/cache/libvirt"
        script = 'while [ "$1" != -- ]; do mkdir -p "$2"; mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'
        flat = [part for pair in mounts.items() for part in pair]
        unshare = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self._init = subprocess.Popen(
            [*unshare, "sh", "-e", "-c", script, "sh", *flat, "--", sys.executable, "-c", REAPER],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._init.stdout is not None
        assert self._init.stdout.readline() == b"ready\n"
        self._namespace = _child_of(self._init.pid)

    @property
    def uri(self) -> str:
        return f"qemu+unix:///system?socket={self.directory}/run/libvirt-sock"

    def start(self) -> None:
        assert self._daemon is None
        sock = self.directory / "run/libvirt-sock"
        sock.unlink(missing_ok=True)
        enter = ["nsenter", f"--target={self._namespace}", "--mount", "--pid"]
        self._daemon = subprocess.Popen(
            [*enter, "libvirtd", "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", "/run/libvirt/libvirtd.pid"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for("libvirtd socket", sock.exists)
        self._pid = _child_of(self._daemon.pid)

    def kill(self) -> None:
        assert self._daemon is not None
        os.kill(self._pid, signal.SIGKILL)
        self._daemon.send_signal(signal.SIGCONT)  # nsenter, if it stopped with a frozen child
        self._daemon.wait(10)
        self._daemon = None

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._daemon is not None
        os.kill(self._pid, signal.SIGCONT)
        self._daemon.send_signal(signal.SIGCONT)  # nsenter stops itself with its child

    def qemu_pid(self, name: str) -> int:
        """The host's PID of a domain's QEMU."""
        inside = (self.directory / f"run/qemu/{name}.pid").read_text().strip()
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                pids = next((line for line in status.read_text().splitlines() if line.startswith("NSpid:")), "")
                same = os.readlink(status.with_name("ns") / "pid") == os.readlink(f"/proc/{self._pid}/ns/pid")
            except OSError:
                continue
            if same and pids.split()[-1] == inside:
                return int(status.parent.name)
        raise AssertionError(f"no QEMU of {name}")

    def close(self) -> None:
        try:
            if self._daemon is not None:
                self.kill()
        finally:
            self._init.kill()  # unshare's --kill-child ends the namespace's first process, and the kernel all others
            self._init.wait(10)
            assert self._init.stdout is not None
            self._init.stdout.close()


def _child_of(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_for(f"child of {pid}", lambda: children.read_text().split())
    return int(children.read_text().split()[0])
