"""A rack: one network namespace with the bridges of the nodes, and what the tests run beside them.

    10.77.0.0/24  eth0: management, corosync's second link, the package repository, BMCs (10.77.0.20N)
    10.77.1.0/24  eth1: corosync's first link, storage
    10.77.2.0/24  eth2: guests

The host is .1 on each. All traffic stays in the namespace; the host's own network is never touched.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tests.nodes.errors import NodeError

BRIDGES = 3
NODES_MAX = 6


class Rack:
    """`directory` holds all that the nodes of this rack write. `down` leaves nothing."""

    def __init__(self, directory: Path, name: str = "hfnodes") -> None:
        self.directory = directory
        self.namespace = name
        self._processes: list[subprocess.Popen[bytes]] = []

    def up(self) -> None:
        """Make the namespace, its bridges and a tap for every node and bridge."""
        self.directory.mkdir(parents=True, exist_ok=True)
        run("ip", "netns", "add", self.namespace)
        self.ip("link", "set", "lo", "up")
        for b in range(BRIDGES):
            self.ip("link", "add", f"br{b}", "type", "bridge", "stp_state", "0", "forward_delay", "0")
            self.ip("addr", "add", f"10.77.{b}.1/24", "dev", f"br{b}")
            self.ip("link", "set", f"br{b}", "up")
            for n in range(1, NODES_MAX + 1):
                tap = tap_name(n, b)
                run("ip", "netns", "exec", self.namespace, "ip", "tuntap", "add", tap, "mode", "tap")
                self.ip("link", "set", tap, "master", f"br{b}")
                self.ip("link", "set", tap, "up")
        for n in range(1, NODES_MAX + 1):
            self.ip("addr", "add", f"10.77.0.{200 + n}/24", "dev", "br0")

    def down(self) -> None:
        """End what was started here, then the namespace with everything in it."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()
        subprocess.run(["ip", "netns", "del", self.namespace], check=False, capture_output=True)

    def ip(self, *words: str) -> None:
        """`ip` in the namespace."""
        run("ip", "-n", self.namespace, *words)

    def inside(self, *words: str) -> list[str]:
        """The words of a command that runs in the namespace."""
        return ["ip", "netns", "exec", self.namespace, *words]

    def start(self, words: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
        """A daemon in the namespace, ended by `down`."""
        out: IO[bytes]
        with log.open("ab") as out:
            process = subprocess.Popen(
                self.inside(*words), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self._processes.append(process)
        return process

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """End one that `start` began."""
        process.kill()
        process.wait()
        self._processes.remove(process)

    def listens(self, address: str, port: int) -> bool:
        """Somebody takes TCP connections there."""
        words = self.inside("ss", "-Hltn", "src", f"{address}:{port}")
        return bool(subprocess.run(words, capture_output=True, check=True).stdout.strip())

    def plug(self, node: int, bridge: int, *, on: bool) -> None:
        """Plug a cable in, or pull it: the guest's carrier goes with it."""
        self.ip("link", "set", tap_name(node, bridge), "up" if on else "down")

    def plug_all(self, node: int) -> None:
        """All its cables are in."""
        for bridge in range(BRIDGES):
            self.plug(node, bridge, on=True)


def tap_name(node: int, bridge: int) -> str:
    """The host's end of a node's cable."""
    return f"hf-t{node}{bridge}"


def run(*words: str) -> str:
    """A command that must work; its stdout."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NodeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
