"""The lab's cables: one switch namespace with a bridge per network, veth pairs as cables, a storage server.

A cable is cut at the switch's end, so the node sees its carrier go, as it would with a pulled cable.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.lab.errors import LabError
from app.lab.processes import Process
from app.lab.state import NodeState

LINKS = ("eth0", "ib0", "eth1")
STORAGE_SERVICE_ADDRESS = "10.99.0.1"
_SHORT = {"eth0": "mgmt", "ib0": "ib", "eth1": "eth"}
_SUBNET = {"eth0": "10.77.0", "ib0": "10.98.1", "eth1": "10.98.2"}
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
# A blackholed port is a member of the set; the bridge drops what comes from it and what goes to it.
_SWITCH_RULES = """
table bridge holdfast {
  set silent { type ifname; }
  chain forward {
    type filter hook forward priority 0; policy accept;
    iifname @silent drop
    oifname @silent drop
  }
}
"""
# The storage server answers over the link on which the client spoke last: the mark of the connection follows
# every packet that comes in, and picks the routing table of the answer. So a client alone decides its path.
_STORAGE_RULES = """
table ip holdfast {
  chain incoming {
    type filter hook prerouting priority mangle; policy accept;
    iifname "ib0" ct mark set 101
    iifname "eth1" ct mark set 102
  }
  chain outgoing {
    type route hook output priority mangle; policy accept;
    ct mark != 0 meta mark set ct mark
  }
}
"""


@dataclass(frozen=True)
class Names:
    """The namespaces of one lab."""

    lab: str

    @property
    def prefix(self) -> str:
        return f"hf-{self.lab}-"

    @property
    def switch(self) -> str:
        return f"{self.prefix}sw"

    @property
    def storage(self) -> str:
        return f"{self.prefix}stor"

    def node(self, node: str) -> str:
        return f"{self.prefix}{node}"


def _run(argv: list[str], text: str = "") -> str:
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}\n{text}")
    return done.stdout


def _batch(namespace: str | None, lines: list[str]) -> None:
    where = ["-n", namespace] if namespace else []
    _run(["ip", *where, "-batch", "-"], "\n".join(lines) + "\n")


def storage_paths() -> list[tuple[str, str, int]]:
    """(link, the storage server's address on it, the metric of the route), best first."""
    return [(link, f"{_SUBNET[link]}.1", metric) for link, metric in _METRIC.items()]


def namespace_inode(namespace: str) -> int:
    return os.stat(f"/run/netns/{namespace}").st_ino


def existing_namespaces(lab: str) -> list[str]:
    directory = Path("/run/netns")
    prefix = Names(lab).prefix
    if not directory.is_dir():
        return []
    # names of other labs may start alike (lab "a" and lab "a-b"): what follows the prefix holds no dash
    return sorted(p.name for p in directory.iterdir() if p.name.startswith(prefix) and "-" not in p.name[len(prefix) :])


def labs_with_namespaces() -> set[str]:
    """The names of labs of which at least a namespace is there."""
    directory = Path("/run/netns")
    found = directory.iterdir() if directory.is_dir() else ()
    return {parts[1] for p in found if len(parts := p.name.split("-")) == 3 and parts[0] == "hf"}


def delete_namespace(namespace: str) -> None:
    _run(["ip", "netns", "del", namespace])


def build(lab: str, numbers: dict[str, int]) -> None:
    """Make all namespaces, cables, addresses and first routes. `numbers`: node name -> its number."""
    names = Names(lab)
    spaces = [names.switch, names.storage, *(names.node(node) for node in numbers)]
    _batch(None, [f"netns add {space}" for space in spaces])
    for space in spaces:
        _run(["ip", "netns", "exec", space, "sysctl", "-qw", *_SYSCTLS])
    _batch(names.switch, [f"link add br-{s} type bridge" for s in _SHORT.values()])
    cables = [
        f"link add {link} netns {names.node(node)} type veth peer name {node}-{_SHORT[link]} netns {names.switch}"
        for node in numbers
        for link in LINKS
    ] + [
        f"link add {link} netns {names.storage} type veth peer name stor-{_SHORT[link]} netns {names.switch}"
        for link in _TABLE
    ]
    _batch(None, cables)
    ports = [(node, link) for node in numbers for link in LINKS] + [("stor", link) for link in _TABLE]
    _batch(
        names.switch,
        ["link set lo up"]
        + [f"link set br-{s} up" for s in _SHORT.values()]
        + [f"link set {node}-{_SHORT[link]} master br-{_SHORT[link]} up" for node, link in ports],
    )
    _run(["ip", "netns", "exec", names.switch, "nft", "-f", "-"], _SWITCH_RULES)
    for node, number in numbers.items():
        _batch(names.node(node), _node_lines(10 + number))
    _batch(names.storage, _storage_lines([10 + number for number in numbers.values()]))
    _run(["ip", "netns", "exec", names.storage, "nft", "-f", "-"], _STORAGE_RULES)


def _node_lines(host: int) -> list[str]:
    source = f"10.99.1.{host}"
    return [
        "link set lo up",
        f"addr add {source}/32 dev lo",
        *(f"addr add {_SUBNET[link]}.{host}/24 dev {link}" for link in LINKS),
        *(f"link set {link} up" for link in LINKS),
        *(
            f"route add {STORAGE_SERVICE_ADDRESS}/32 via {_SUBNET[link]}.1 dev {link} src {source} metric {metric}"
            for link, metric in _METRIC.items()
        ),
    ]


def _storage_lines(hosts: list[int]) -> list[str]:
    lines = ["link set lo up", f"addr add {STORAGE_SERVICE_ADDRESS}/32 dev lo"]
    for link, table in _TABLE.items():
        lines += [f"addr add {_SUBNET[link]}.1/24 dev {link}", f"link set {link} up"]
        for host in hosts:
            route = f"route add 10.99.1.{host}/32 via {_SUBNET[link]}.{host} dev {link} src {STORAGE_SERVICE_ADDRESS}"
            lines += [f"{route} metric {_METRIC[link]}", f"{route} table {table}"]
        lines.append(f"rule add fwmark {table} lookup {table}")
    return lines


def set_ports(switch: Process, node: NodeState, links: tuple[str, ...], up: bool) -> None:
    """Plug or pull the node's cables. Works from inside any node: it enters the switch by its process."""
    lines = [f"link set {node.name}-{_SHORT[link]} {'up' if up else 'down'}" for link in links]
    if lines:
        _run([*_in_switch(switch), "ip", "-batch", "-"], "\n".join(lines) + "\n")


def set_silent(switch: Process, node: NodeState, links: tuple[str, ...], silent: bool) -> None:
    """Drop everything on these cables with the carrier left up, or stop doing so."""
    verb = "add" if silent else "delete"
    lines = [f'{verb} element bridge holdfast silent {{ "{node.name}-{_SHORT[link]}" }}' for link in links]
    if lines:
        _run([*_in_switch(switch), "nft", "-f", "-"], "\n".join(lines) + "\n")


def _in_switch(switch: Process) -> list[str]:
    if not switch.is_alive():
        raise LabError("the lab's switch process is gone; take the lab down and up again")
    return ["nsenter", f"--net=/proc/{switch.pid}/ns/net"]
