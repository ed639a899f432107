"""A node and a storage server with two links each, through two bridges in a namespace of their own; all real.

The watch runs in a child process inside the node's namespace. The cables can be pulled (carrier) or made silent
(the bridge drops everything while the carrier stays).
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

LINKS = ("ib0", "eth1")
TARGET, SOURCE = "10.99.0.1", "10.99.1.11"
_SUBNET = {"ib0": "10.98.1", "eth1": "10.98.2"}
_METRIC = {"ib0": 10, "eth1": 20}
_TABLE = {"ib0": 101, "eth1": 102}
_SYSCTLS = (
    "net.ipv4.conf.all.ignore_routes_with_linkdown=1",
    "net.ipv4.conf.default.ignore_routes_with_linkdown=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
    "net.ipv4.conf.all.arp_ignore=1",
    "net.ipv4.conf.all.arp_announce=2",
)
_SWITCH_RULES = """
table bridge pickup {
  set silent { type ifname; }
  chain forward { type filter hook forward priority 0; policy accept; iifname @silent drop; oifname @silent drop; }
}
"""
#: the storage server answers over the link on which the node spoke last
_FOLLOW_THE_NODE = """
table ip pickup {
  chain incoming {
    type filter hook prerouting priority mangle; policy accept;
    iifname "ib0" ct mark set 101
    iifname "eth1" ct mark set 102
  }
  chain outgoing { type route hook output priority mangle; policy accept; ct mark != 0 meta mark set ct mark; }
}
"""


def run(*argv: str, text: str = "", check: bool = True) -> str:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=20)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr}{done.stdout}")
    return done.stdout


def wait_for(met: Callable[[], bool], what: str, timeout_seconds: float = 15.0) -> float:
    """Seconds until `met`; polls every few milliseconds."""
    began = time.monotonic()
    while not met():
        if time.monotonic() - began > timeout_seconds:
            raise AssertionError(f"not within {timeout_seconds} s: {what}")
        time.sleep(0.005)
    return time.monotonic() - began


@dataclass
class Watch:
    """`python -m plugins.network.pickup` in a namespace, and all that it said."""

    process: "subprocess.Popen[str]"
    said: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(json.loads(line) for line in self.process.stdout)

    def paths(self) -> dict[str, dict[str, Any]]:
        """Path name -> its last report."""
        reports: list[dict[str, dict[str, Any]]] = [
            {p["name"]: p for p in line["paths"]} for line in self.said if "paths" in line
        ]
        return reports[-1] if reports else {}

    def texts(self, kind: str) -> list[str]:
        return [line["text"] for line in self.said if line.get("kind") == kind]

    def times(self, kind: str) -> list[datetime]:
        return [datetime.fromisoformat(line["at"]) for line in self.said if line.get("kind") == kind]

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def stop(self) -> int:
        self.process.terminate()
        return self._end()

    def _end(self) -> int:
        try:
            return self.process.wait(timeout=10)
        finally:
            self.process.kill()
            self._reader.join(timeout=5)
            assert self.process.stdout is not None
            self.process.stdout.close()


class PickupNet:
    """Build with `up`, end with `down`."""

    def __init__(self) -> None:
        prefix = f"hf-pk{os.getpid()}-"
        self.switch, self.storage, self.node = f"{prefix}sw", f"{prefix}stor", f"{prefix}node"
        self.watches: list[Watch] = []

    def up(self, *, storage_follows: bool = True) -> None:
        for space in (self.switch, self.storage, self.node):
            run("ip", "netns", "add", space)
            run("ip", "netns", "exec", space, "sysctl", "-qw", *_SYSCTLS)
            run("ip", "-n", space, "link", "set", "lo", "up")
        for link in LINKS:
            run("ip", "-n", self.switch, "link", "add", f"br-{link}", "type", "bridge")
            run("ip", "-n", self.switch, "link", "set", f"br-{link}", "up")
        for space, end, address, host in ((self.node, "n", SOURCE, 11), (self.storage, "s", TARGET, 1)):
            run("ip", "-n", space, "addr", "add", f"{address}/32", "dev", "lo")
            for link in LINKS:
                self.cable(space, end, link, host)
        run("ip", "netns", "exec", self.switch, "nft", "-f", "-", text=_SWITCH_RULES)
        self.first_routes(self.node, TARGET, SOURCE, 1)
        self.first_routes(self.storage, SOURCE, TARGET, 11)
        if storage_follows:
            self._follow()

    def cable(self, space: str, end: str, link: str, host: int) -> None:
        port = f"{end}-{link}"
        run("ip", "link", "add", link, "netns", space, "type", "veth", "peer", "name", port, "netns", self.switch)
        run("ip", "-n", self.switch, "link", "set", port, "master", f"br-{link}", "up")
        run("ip", "-n", space, "addr", "add", f"{_SUBNET[link]}.{host}/24", "dev", link)
        run("ip", "-n", space, "link", "set", link, "up")

    def first_routes(self, space: str, target: str, source: str, host: int) -> None:
        for link, metric in _METRIC.items():
            way = ["via", f"{_SUBNET[link]}.{host}", "dev", link, "src", source]
            run("ip", "-n", space, "route", "add", f"{target}/32", *way, "metric", str(metric))

    def _follow(self) -> None:
        for link, table in _TABLE.items():
            way = ["via", f"{_SUBNET[link]}.11", "dev", link, "src", TARGET, "table", str(table)]
            run("ip", "-n", self.storage, "route", "add", f"{SOURCE}/32", *way)
            run("ip", "-n", self.storage, "rule", "add", "fwmark", str(table), "lookup", str(table))
        run("ip", "netns", "exec", self.storage, "nft", "-f", "-", text=_FOLLOW_THE_NODE)

    def watch(self, *options: str, at_storage: bool = False) -> Watch:
        """Start the watch and wait until it has reported every path as working."""
        space, target, source, host = (
            (self.storage, SOURCE, TARGET, 11) if at_storage else (self.node, TARGET, SOURCE, 1)
        )
        paths = [f"--path={link},{link},{_SUBNET[link]}.{host},{_METRIC[link]}" for link in LINKS]
        module = ["-m", "plugins.network.pickup", f"--target={target}", f"--source={source}", *paths, *options]
        argv = ["ip", "netns", "exec", space, sys.executable, *module]
        started = Watch(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        self.watches.append(started)
        wait_for(lambda: bool(started.paths()), "the watch's first report")
        return started

    def route(self, space: str = "", target: str = TARGET) -> str:
        """The link that the kernel would use now; empty when there is none."""
        said = run("ip", "-n", space or self.node, "-j", "route", "get", target, check=False)
        return str(json.loads(said)[0].get("dev", "")) if said else ""

    def metrics(self) -> dict[str, int]:
        routes = json.loads(run("ip", "-n", self.node, "-j", "route", "show", f"{TARGET}/32"))
        return {route["dev"]: route["metric"] for route in routes}

    def pull(self, link: str) -> None:
        run("ip", "-n", self.switch, "link", "set", f"n-{link}", "down")

    def plug(self, link: str) -> None:
        run("ip", "-n", self.switch, "link", "set", f"n-{link}", "up")

    def silence(self, link: str, *, end: bool = False) -> None:
        verb = "delete" if end else "add"
        text = f'{verb} element bridge pickup silent {{ "n-{link}" }}\n'
        run("ip", "netns", "exec", self.switch, "nft", "-f", "-", text=text)

    def down(self) -> None:
        for watch in self.watches:
            watch.kill()
        self.watches.clear()
        for space in (self.node, self.storage, self.switch):
            run("ip", "netns", "del", space, check=False)
