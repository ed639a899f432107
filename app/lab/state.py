"""What a lab remembers on disk, so that another process (`holdfast lab kill n2`, the fence agent) can act on it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from app.lab.errors import LabError
from app.lab.paths import LabPaths, NodePaths
from app.lab.processes import Process


@dataclass(frozen=True)
class NodeState:
    """What never changes about a node while the lab is up."""

    name: str
    number: int
    role: str
    rack: str
    memory_mib: int
    cores: int
    namespace: str
    namespace_inode: int

    @property
    def address(self) -> str:
        return f"10.77.0.{10 + self.number}"

    @property
    def service_address(self) -> str:
        """Its /32 for storage traffic, reachable over either link."""
        return f"10.99.1.{10 + self.number}"


@dataclass(frozen=True)
class LabState:
    """A running lab. `host_processes`: role ("switch", "storage", "gateway") -> process."""

    name: str
    services: tuple[str, ...]
    watchdog_seconds: float
    database_password: str
    nodes: tuple[NodeState, ...]
    host_processes: dict[str, Process]
    made_directories: tuple[str, ...]
    gateway_port: int = 0
    extra: dict[str, str] = field(default_factory=dict)

    def services_of(self, node: NodeState) -> tuple[str, ...]:
        """What runs on that node: a witness votes and remembers, and has no hypervisor."""
        return tuple(s for s in self.services if s != "libvirt" or node.role != "witness")

    def node(self, name: str) -> NodeState:
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(f"no node {name} in lab {self.name}; it has {', '.join(n.name for n in self.nodes)}")


Power = Literal["on", "off"]


@dataclass(frozen=True)
class PowerState:
    """`cut`: links whose cable is pulled; `silent`: links that drop all packets with the carrier up."""

    power: Power = "off"
    frozen: bool = False
    init: Process | None = None
    watchdog: Process | None = None
    cut: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


def write_json(path: Path, value: Any) -> None:
    """Atomic: a reader sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(value, indent=1))
    temporary.rename(path)


def _process(data: dict[str, int] | None) -> Process | None:
    return None if data is None else Process(data["pid"], data["start_ticks"])


def save_lab(paths: LabPaths, state: LabState) -> None:
    write_json(paths.state, asdict(state))
    paths.state.chmod(0o600)  # holds the database password


def load_lab(paths: LabPaths) -> LabState:
    """Errors: LabError when no lab is up there."""
    try:
        data = json.loads(paths.state.read_text())
    except FileNotFoundError:
        raise LabError(f"no lab is up in {paths.directory}; start one with `holdfast lab up`") from None
    data["nodes"] = tuple(NodeState(**node) for node in data["nodes"])
    data["host_processes"] = {role: Process(**p) for role, p in data["host_processes"].items()}
    data["services"] = tuple(data["services"])
    data["made_directories"] = tuple(data["made_directories"])
    return LabState(**data)


def save_power(paths: NodePaths, state: PowerState) -> None:
    write_json(paths.power, asdict(state))


def load_power(paths: NodePaths) -> PowerState:
    try:
        data = json.loads(paths.power.read_text())
    except FileNotFoundError:
        return PowerState()
    return PowerState(
        power=data["power"],
        frozen=data["frozen"],
        init=_process(data["init"]),
        watchdog=_process(data["watchdog"]),
        cut=tuple(data["cut"]),
        silent=tuple(data["silent"]),
    )


@contextmanager
def power_lock(paths: NodePaths) -> Iterator[None]:
    """One at a time acts on a node's power: the lab, its watchdog, a fence agent. Freed by the kernel on death."""
    with paths.power_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def record(paths: LabPaths, event: str, node: str, by: str, **details: Any) -> None:
    """One line in the lab's event log: {"time": UTC, "monotonic_seconds", "event", "node", "by", ...}."""
    line = {
        "time": datetime.now(UTC).isoformat(),
        "monotonic_seconds": time.monotonic(),
        "event": event,
        "node": node,
        "by": by,
        **details,
    }
    with paths.events.open("a") as log:
        log.write(json.dumps(line) + "\n")


def events(paths: LabPaths) -> list[dict[str, Any]]:
    if not paths.events.exists():
        return []
    return [json.loads(line) for line in paths.events.read_text().splitlines()]
