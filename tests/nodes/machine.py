"""One test node: a Debian VM under QEMU with three network cards and nested virtualisation.

It can die in three ways: `quit` (the power is gone), `stop` (SIGSTOP, the whole machine stalls, its clocks with it)
and `zombie` (QMP stop: it goes on later and believes that no time has passed; no watchdog of it fires).
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.nodes.errors import NodeError
from tests.nodes.image import NodeImage
from tests.nodes.rack import BRIDGES, Rack, run, tap_name

# svm: nested virtualisation; aes: one emulated instruction is worth hundreds to TLS, ssh and Corosync
CPU = "qemu64,+svm,+npt,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+aes,+pclmulqdq"
# norandmaps: QEMU finds code that it has translated by its address. With random ones each process's libraries are
# translated anew: a boot and thirty short commands make 948 MB of code, without 201 MB, and `ls` takes half as long.
_APPEND = (
    "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off nowatchdog audit=0 random.trust_cpu=on "
    "norandmaps kvm.halt_poll_ns=0 systemd.hostname={name} module_blacklist={unwanted}"
)
#: they cost a boot seconds and serve nobody here; iTCO_wdt is the chipset's watchdog: softdog is to be tested
_UNWANTED = (
    "iTCO_wdt",
    "ahci",
    "cfg80211",
    "powernow_k8",
    "i2c_i801",
    "lpc_ich",
    "parport_pc",
    "ppdev",
    "psmouse",
    "pcspkr",
)


#: the block device whose file keeps the snapshots
DISK = "disk"
_SNAPSHOT_SECONDS = 120


class Machine:
    """Node `number` of a rack. Its disk is a layer over the image and outlives a power cut.

    One core: what two have to tell each other costs more under emulation than the second one does (an idle node takes
    30 % of a core of the host, with two 42 %).
    """

    def __init__(self, rack: Rack, image: NodeImage, number: int, *, memory_mib: int = 2048) -> None:
        self.rack, self.image, self.number, self.memory_mib = rack, image, number, memory_mib
        self.name = f"node{number}"
        self.address = f"10.77.0.{10 + number}"
        self.storage_address = f"10.77.1.{10 + number}"
        self.directory = rack.directory / self.name
        self.directory.mkdir(parents=True, exist_ok=True)
        self.disk = self.directory / "disk.qcow2"
        self.extra: list[str] = []

    # -- power

    def power_on(self, *options: str) -> None:
        """Start QEMU, with more options if need be; nothing waits for the guest."""
        if self.is_on:
            return
        if not self.disk.exists():
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(self.image.disk), str(self.disk))
        self._qmp_socket.unlink(missing_ok=True)
        done = subprocess.run(self.rack.inside(*self._qemu(), *options), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NodeError(f"{self.name}: QEMU does not start: {done.stderr}")

    @property
    def is_on(self) -> bool:
        """Its QEMU lives."""
        pid = self._pid()
        return pid is not None and lives(pid)

    def power_off(self) -> None:
        """The power is gone, at once."""
        pid = self._pid()
        if pid is not None and self.is_on:
            signal_pid(pid, signal.SIGKILL)
            until(lambda: not self.is_on, f"{self.name} to be off", 20)
        self._pid_file.unlink(missing_ok=True)

    def stall(self, *, on: bool) -> None:
        """SIGSTOP or SIGCONT of the whole machine."""
        pid = self._pid()
        if pid is None:
            raise NodeError(f"{self.name} is off")
        signal_pid(pid, signal.SIGSTOP if on else signal.SIGCONT)

    def zombie(self, *, on: bool) -> None:
        """Stop the CPUs and their clocks, or let them go on as if nothing had been."""
        self.qmp("stop" if on else "cont")

    def qmp(self, command: str, **arguments: Any) -> Any:
        """One command to QEMU's monitor."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(20)
            line.connect(str(self._qmp_socket))
            file = line.makefile("rw")
            json.loads(file.readline())
            for words in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                file.write(json.dumps(words) + "\n")
                file.flush()
                answer = json.loads(file.readline())
                while "event" in answer:
                    answer = json.loads(file.readline())
                if "error" in answer:
                    raise NodeError(f"{self.name}: {command}: {answer['error']['desc']}")
        return answer["return"]

    # -- snapshots: the whole machine, memory and disk, as it was at that moment

    def save(self, tag: str) -> None:
        """Into its own disk's file. It stands still meanwhile; see `zombie` for keeping several in step."""
        self._job("snapshot-save", tag)

    def load(self, tag: str) -> None:
        """Become what it was, powered on if need be, and stand still until `zombie(on=False)`."""
        self.power_off()
        self.power_on("-S")
        self._job("snapshot-load", tag)

    def _job(self, command: str, tag: str) -> None:
        self.qmp(command, **{"job-id": tag, "tag": tag, "vmstate": DISK, "devices": [DISK]})

        def status() -> dict[str, str]:
            return next(dict(job) for job in self.qmp("query-jobs") if job["id"] == tag)

        until(lambda: status()["status"] == "concluded", f"{self.name}: {command}", _SNAPSHOT_SECONDS, 0.1)
        error = status().get("error")
        self.qmp("job-dismiss", id=tag)
        if error:
            raise NodeError(f"{self.name}: {command}: {error}")

    # -- inside

    def ssh(self, command: str, *, check: bool = True, timeout_seconds: float = 300, stdin: bytes | None = None) -> str:
        """Run a shell line on the node as root; its stdout."""
        done = subprocess.run(
            self.ssh_words(command),
            input=stdin if stdin is not None else b"", capture_output=True, timeout=timeout_seconds, check=False,
        )  # fmt: skip
        if check and done.returncode != 0:
            said = (done.stderr + done.stdout).decode(errors="replace")[-3000:]
            raise NodeError(f"{self.name}: `{command}` ended with {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")

    def ssh_words(self, command: str) -> list[str]:
        """The words that run a shell line on the node as root."""
        return self.rack.inside("ssh", *self._ssh_options, f"root@{self.address}", command)

    def works(self, command: str, *, timeout_seconds: float = 30) -> bool:
        """True when the line ends with 0; False also when the node does not answer."""
        try:
            self.ssh(command, timeout_seconds=timeout_seconds)
        except (NodeError, subprocess.TimeoutExpired):
            return False
        return True

    def put(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file on the node."""
        self.ssh(f"install -D -m {mode:o} /dev/stdin {name}", stdin=content)

    def wait_for_ssh(self, timeout_seconds: float = 240) -> None:
        """Until it has booted."""
        until(lambda: self.works("true", timeout_seconds=15), f"{self.name} to boot", timeout_seconds)

    @property
    def boot_id(self) -> str:
        """The kernel's id of this boot."""
        return self.ssh("cat /proc/sys/kernel/random/boot_id").strip()

    # -- small change

    @property
    def _pid_file(self) -> Path:
        return self.directory / "pid"

    @property
    def _qmp_socket(self) -> Path:
        return self.directory / "qmp"

    @property
    def events_socket(self) -> Path:
        """A second monitor, for one who listens: see `Resets`."""
        return self.directory / "events"

    def _pid(self) -> int | None:
        try:
            return int(self._pid_file.read_text())
        except (OSError, ValueError):
            return None

    @property
    def _ssh_options(self) -> list[str]:
        options = {
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "LogLevel": "ERROR",
            "ConnectTimeout": "30", "ServerAliveInterval": "15", "ServerAliveCountMax": "8", "BatchMode": "yes",
        }  # fmt: skip
        return ["-i", str(self.image.key), *(word for k, v in options.items() for word in ("-o", f"{k}={v}"))]

    def _qemu(self) -> list[str]:
        n, addresses = self.number, ""
        for b in range(BRIDGES):
            gateway = "10.77.0.1" if b == 0 else ""
            addresses += f" ip=10.77.{b}.{10 + n}::{gateway}:255.255.255.0::eth{b}:off"
        # The last one is the initramfs's, which has no driver of the cards: Debian 13's waits 180 s for them.
        addresses += " ip=off"
        words = [
            "qemu-system-x86_64", "-name", self.name, "-M", "q35", "-accel", "tcg,thread=multi,tb-size=1024",
            "-cpu", CPU, "-smp", "1", "-m", str(self.memory_mib),
            "-nodefaults", "-display", "none", "-no-user-config",
            "-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd),
            "-append", _APPEND.format(name=self.name, unwanted=",".join(_UNWANTED)) + addresses,
            "-drive", f"file={self.disk},if=none,id=d0,node-name={DISK},cache=unsafe,discard=unmap",
            "-device", "virtio-blk-pci,drive=d0",
            "-device", "virtio-rng-pci",
            "-chardev", f"file,id=console,path={self.directory}/console.log,append=on", "-serial", "chardev:console",
            "-qmp", f"unix:{self._qmp_socket},server=on,wait=off",
            "-qmp", f"unix:{self.events_socket},server=on,wait=off", "-pidfile", str(self._pid_file), "-daemonize",
        ]  # fmt: skip
        for b in range(BRIDGES):
            tap = f"tap,id=n{b},ifname={tap_name(n, b)},script=no,downscript=no"
            words += ["-netdev", tap, "-device", f"virtio-net-pci,netdev=n{b},mac=52:54:00:77:0{b}:1{n}"]
        return words + self.extra


def lives(pid: int) -> bool:
    """One of its threads does: what is only to be reaped is dead, and the last thread takes locks and files along."""
    states = []
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):
            states.append(stat.read_text().rpartition(") ")[2][0])
    return not set(states) <= set("ZX")


def signal_pid(pid: int, number: signal.Signals) -> None:
    """To one process of ours."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def until(ready: Callable[[], object], what: str, timeout_seconds: float, every_seconds: float = 0.5) -> float:
    """Wait for a condition; how long it took, in seconds. NodeError names what did not come."""
    began = time.monotonic()
    while not ready():
        if time.monotonic() - began > timeout_seconds:
            raise NodeError(f"waited {timeout_seconds:g} s for {what}")
        time.sleep(every_seconds)
    return time.monotonic() - began
