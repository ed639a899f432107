"""Real corosyncs for tests: a network namespace for each, a bridge between them, stock `corosync -f`."""

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.adapters.corosync_enter import PRIVATE

ROOT = Path(__file__).resolve().parents[2]
TOKEN_MILLISECONDS = 1000
Line = dict[str, Any]

_serial = itertools.count(1)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Probe:
    """One running corosync_probe. `lines` are what it has said so far."""

    def __init__(self, node: "CorosyncNode", arguments: list[str]) -> None:
        self.lines: list[Line] = []
        self._said = threading.Condition()
        self.process = node.spawn(
            [sys.executable, "-m", "tests.adapters.corosync_probe", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._said:
                self.lines.append(json.loads(line))
                self._said.notify_all()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def send(self, kind: str, vm_id: int | None = None, epoch: int = 0) -> None:
        self.tell(json.dumps({"send": [kind, vm_id, epoch]}))

    def mark(self) -> int:
        """Where `wait` has to begin for what comes from now on."""
        return len(self.lines)

    def wait(self, wanted: Callable[[Line], bool], seconds: float, since: int = 0) -> Line:
        """The first such line, from `since` on. Fails with all that was said."""
        deadline = time.monotonic() + seconds
        with self._said:
            while True:
                found = next((line for line in self.lines[since:] if wanted(line)), None)
                if found is not None:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or not self._said.wait(left):
                    raise AssertionError(f"not seen in {seconds} s:\n" + "\n".join(map(str, self.lines)))

    def finish(self) -> None:
        """Let it stop by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self._reader.join()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


class CorosyncNode:
    """One network namespace with its private directories."""

    def __init__(self, cluster: "CorosyncCluster", number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.name = f"node{number}"
        self.namespace = f"{cluster.prefix}n{number}"
        self.directory = cluster.directory / self.name
        self.probes: list[Probe] = []
        self._corosync: subprocess.Popen[bytes] | None = None
        for name in PRIVATE:
            (self.directory / name).mkdir(parents=True)

    def spawn(self, command: list[str], **streams: Any) -> subprocess.Popen[bytes]:
        enter = [sys.executable, "-m", "tests.adapters.corosync_enter", str(self.directory)]
        argv = ["ip", "netns", "exec", self.namespace, "unshare", "-m", *enter, *command]
        with (self.directory / "stderr").open("ab") as errors:
            return subprocess.Popen(argv, cwd=ROOT, stderr=errors, **streams)

    def start_corosync(self) -> None:
        self._corosync = self.spawn(["corosync", "-f"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def signal_corosync(self, number: int) -> None:
        assert self._corosync is not None
        self._corosync.send_signal(number)

    def kill_corosync(self) -> float:
        """SIGKILL; the time of it."""
        assert self._corosync is not None
        at = time.monotonic()
        self._corosync.kill()
        self._corosync.wait()
        self._corosync = None
        return at

    def probe(self, role: str = "agent", names: dict[int, str] | None = None) -> Probe:
        names = self.cluster.names if names is None else names
        return self._add(Probe(self, [role, json.dumps(names)]))

    def raw_probe(self) -> Probe:
        return self._add(Probe(self, ["raw"]))

    def _add(self, probe: Probe) -> Probe:
        self.probes.append(probe)
        return probe

    def set_cable(self, state: str) -> float:
        """`up` or `down`; the time of it."""
        at = time.monotonic()
        ip("-n", self.cluster.switch, "link", "set", f"p{self.number}", state)
        return at

    def end(self) -> None:
        for probe in self.probes:
            probe.kill()
        if self._corosync is not None:
            self.kill_corosync()
        for ring in sorted((self.directory / "shm").rglob("*"), reverse=True):  # a machine's memory is lost with it
            ring.rmdir() if ring.is_dir() else ring.unlink()

    def errors(self) -> str:
        return (self.directory / "stderr").read_text()


class CorosyncCluster:
    """`size` nodes: node1, node2, ... with the same numbers as ids."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.prefix = f"hf-cs{os.getpid()}-{next(_serial)}-"
        self.switch = f"{self.prefix}sw"
        self.names = {number: f"node{number}" for number in range(1, size + 1)}
        self.nodes = [CorosyncNode(self, number) for number in self.names]

    def build(self) -> None:
        """Namespaces, cables, settings. Nothing runs yet."""
        for space in (self.switch, *(node.namespace for node in self.nodes)):
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        ip("-n", self.switch, "link", "add", "br0", "type", "bridge")
        ip("-n", self.switch, "link", "set", "br0", "up")
        key = os.urandom(256)
        for node in self.nodes:
            port = f"p{node.number}"
            ip("link", "add", "eth0", "netns", node.namespace, "type", "veth", "peer", port, "netns", self.switch)
            ip("-n", self.switch, "link", "set", port, "master", "br0", "up")
            ip("-n", node.namespace, "addr", "add", f"10.97.0.{node.number}/24", "dev", "eth0")
            ip("-n", node.namespace, "link", "set", "eth0", "up")
            (node.directory / "etc" / "corosync.conf").write_text(self._settings())
            (node.directory / "etc" / "authkey").write_bytes(key)

    def _settings(self) -> str:
        """corosync.conf(5)"""
        nodes = "".join(
            f"node {{\nring0_addr: 10.97.0.{number}\nname: {name}\nnodeid: {number}\n}}\n"
            for number, name in self.names.items()
        )
        return (
            "totem {\nversion: 2\ncluster_name: test\ntransport: knet\ncrypto_cipher: aes256\ncrypto_hash: sha256\n"
            f"token: {TOKEN_MILLISECONDS}\n}}\nquorum {{\nprovider: corosync_votequorum\n}}\nnodelist {{\n{nodes}}}\n"
            "logging {\nto_stderr: yes\nto_syslog: no\ntimestamp: hires\n}\n"
        )

    def start(self) -> None:
        for node in self.nodes:
            node.start_corosync()

    def end(self) -> None:
        for node in self.nodes:
            node.end()
        existing = {path.name for path in Path("/run/netns").glob(f"{self.prefix}*")}
        for space in existing:
            ip("netns", "del", space)


@contextmanager
def corosync_cluster(directory: Path, size: int = 3, started: bool = True) -> Iterator[CorosyncCluster]:
    """A cluster that is gone at the end, whatever happens."""
    cluster = CorosyncCluster(directory, size)
    try:
        cluster.build()
        if started:
            cluster.start()
        yield cluster
    finally:
        cluster.end()


def view(members: set[str], quorate: bool) -> Callable[[Line], bool]:
    """MembershipChanged with exactly this."""
    return lambda line: (
        line["event"] == "MembershipChanged" and set(line["members"]) == members and line["quorate"] is quorate
    )


def group(members: set[str], joined: set[str] | None = None, left: set[str] | None = None) -> Callable[[Line], bool]:
    """GroupChanged with exactly these members; `joined` and `left` only where given."""
    return lambda line: (
        line["event"] == "GroupChanged"
        and set(line["members"]) == members
        and (joined is None or set(line["joined"]) == joined)
        and (left is None or set(line["left"]) == left)
    )


def heard(sender: str, kind: str, vm_id: int | None = None, epoch: int = 0, node: str = "") -> Callable[[Line], bool]:
    """SignalReceived with exactly this."""
    wanted = {"event": "SignalReceived", "sender": sender, "kind": kind, "vm_id": vm_id, "epoch": epoch, "node": node}
    return lambda line: {key: value for key, value in line.items() if key != "at"} == wanted
