"""From nothing to a running lab, step by step."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.lab import corosync, galera, holdfast_config, inside, libvirt_daemon, network
from app.lab.errors import LabError
from app.lab.guest import build as guest
from app.lab.parts import missing_parts
from app.lab.paths import CONFIG_IN_NODE, POOL_IN_NODE, PRIVATE_DIRECTORIES, LabPaths
from app.lab.power_on import power_on
from app.lab.processes import Process
from app.lab.spawn import spawn
from app.lab.state import LabState, NodeState, load_lab, save_lab
from app.lab.units import Unit, save_unit
from app.lab.wait import wait_until

SERVICES = ("corosync", "database", "libvirt", "agent", "api")
PRODUCT = (sys.executable, "-m", "app.cli.main")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class NodeSettings:
    """What a node of a new lab is. `role`: compute, spare or witness."""

    role: str = "compute"
    rack: str = ""
    memory_mib: int = 8192
    cores: int = 8


@dataclass(frozen=True)
class Order:
    """What is asked for. `config`: table -> settings laid over each node's configuration."""

    nodes: tuple[NodeSettings, ...]
    services: tuple[str, ...]
    token: corosync.Token
    encrypted: bool
    watchdog_seconds: float
    config: Mapping[str, Mapping[str, Any]]


def product(*command: str) -> tuple[str, ...]:
    """A `holdfast` command for a node."""
    return (*PRODUCT, *command, "--config", CONFIG_IN_NODE)


def guest_image(paths: LabPaths) -> Path:
    """The image directory in the pool, on the host."""
    return paths.pool / "images" / guest.NAME


class BringUp:
    """One run of it. On a failure the caller takes the rest down."""

    def __init__(
        self, name: str, paths: LabPaths, cache: Path, order: Order, progress: Progress, timeout_seconds: float
    ) -> None:
        self._name = name
        self._paths = paths
        self._cache = cache
        self._order = order
        self._progress = progress
        self._timeout = timeout_seconds

    def run(self) -> None:
        """Errors: LabError."""
        self._check()
        order = self._order
        self._progress("guest image")
        self._install_guest()
        self._progress("network")
        lab = self._build(order.nodes, order.services, order.watchdog_seconds)
        self._progress("disks and settings")
        key = corosync.new_key() if order.encrypted else None
        for node in lab.nodes:
            etc = self._paths.node(node.name).inside("/etc/corosync")
            corosync.write_config(etc, lab.nodes, order.token, key)
        self._write_config(lab, order.config)
        self._prepare_services(lab)
        self._progress("power")
        for node in lab.nodes:
            power_on(self._paths, node.name, "lab")
        self._wait_for_base(lab)
        self._start_product(lab)

    def _check(self) -> None:
        if missing := missing_parts():
            raise LabError("the lab needs " + "; ".join(missing))
        if unknown := set(self._order.services) - set(SERVICES):
            raise LabError(f"unknown services {sorted(unknown)}; there are {', '.join(SERVICES)}")

    def _install_guest(self) -> None:
        source = guest.image(self._cache)
        target = guest_image(self._paths)
        target.parent.mkdir(parents=True)
        # hard links would let a lab change the cache; these are 17 MB
        shutil.copytree(source, target)

    def _build(self, settings: Sequence[NodeSettings], services: tuple[str, ...], watchdog_seconds: float) -> LabState:
        _, password = galera.seed(self._cache)
        names = network.Names(self._name)
        numbers = {f"n{i}": i for i in range(1, len(settings) + 1)}
        network.build(self._name, numbers)
        nodes = tuple(
            NodeState(
                name=node,
                number=number,
                role=one.role,
                rack=one.rack,
                memory_mib=one.memory_mib,
                cores=one.cores,
                namespace=names.node(node),
                namespace_inode=network.namespace_inode(names.node(node)),
            )
            for (node, number), one in zip(numbers.items(), settings, strict=True)
        )
        for directory in (self._paths.host, self._paths.fence):
            directory.mkdir(parents=True)
        for node in nodes:
            self._make_node_directories(node, nodes)
        made = self._make_mount_points()
        anchors = {
            role: self._spawn(["ip", "netns", "exec", namespace, "sleep", "infinity"], role)
            for role, namespace in (("switch", names.switch), ("storage", names.storage))
        }
        gateway = self._spawn(
            [sys.executable, "-m", "app.lab.gateway", str(self._paths.directory), *numbers], "gateway"
        )
        lab = LabState(
            name=self._name,
            services=services,
            watchdog_seconds=watchdog_seconds,
            database_password=password,
            nodes=nodes,
            host_processes={**anchors, "gateway": gateway},
            made_directories=made,
        )
        save_lab(self._paths, lab)
        return lab

    def _make_node_directories(self, node: NodeState, nodes: tuple[NodeState, ...]) -> None:
        here = self._paths.node(node.name)
        for name in PRIVATE_DIRECTORIES.values():
            (here.directory / name).mkdir(parents=True)
        for directory in (here.units, here.unit_states, here.log):
            directory.mkdir()
        lines = ["127.0.0.1 localhost", *(f"{other.address} {other.name}" for other in nodes)]
        here.hosts.write_text("\n".join(lines) + "\n")

    def _spawn(self, argv: list[str], role: str) -> Process:
        return spawn(argv, self._paths.directory, self._paths.host / f"{role}.log")

    def _make_mount_points(self) -> tuple[str, ...]:
        """Targets the host lacks; the last lab to go removes them, so each knows those of the others, too."""
        made: list[str] = []
        for other in self._paths.directory.parent.glob("*/lab.json"):
            made += load_lab(LabPaths(other.parent)).made_directories
        for target in (*PRIVATE_DIRECTORIES, POOL_IN_NODE):
            missing = [path for path in (Path(target), *Path(target).parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir()
                made.append(str(path))
        return tuple(dict.fromkeys(made))

    def _write_config(self, lab: LabState, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        for node in lab.nodes:
            file = self._paths.node(node.name).inside(CONFIG_IN_NODE)
            file.write_text(holdfast_config.text(self._paths, lab, node, overrides))
            file.chmod(0o600)

    def _prepare_services(self, lab: LabState) -> None:
        data, _ = galera.seed(self._cache)
        for node in lab.nodes:
            here = self._paths.node(node.name)
            first = node is lab.nodes[0]
            galera.copy_seed(data, here, bootstrap=first)
            libvirt_daemon.prepare(here, self._capabilities)
            units = {
                "corosync": Unit(corosync.ARGV),
                "database": Unit(galera.argv(node, lab.nodes, bootstrap=first)),
                # without cached capabilities only the first node probes QEMU, the others get a copy
                "libvirt": Unit(libvirt_daemon.ARGV, enabled=first or self._capabilities.is_dir()),
                "agent": Unit(product("agent"), enabled=False, restart=True),
                "api": Unit(product("api"), enabled=False, restart=True),
            }
            for name in lab.services_of(node):
                save_unit(here, name, units[name])

    def _wait_for_base(self, lab: LabState) -> None:
        if "libvirt" in lab.services:
            self._progress("libvirt")
            hosts = [node for node in lab.nodes if "libvirt" in lab.services_of(node)]
            first = self._paths.node(lab.nodes[0].name)
            wait_until(lambda: libvirt_daemon.answers(first), self._timeout, "libvirt on n1")
            if not self._capabilities.is_dir():
                libvirt_daemon.keep_capabilities(first, self._capabilities)
                for node in hosts[1:]:
                    libvirt_daemon.prepare(self._paths.node(node.name), self._capabilities)
                    inside.start(self._paths, node.name, "libvirt")
            for node in hosts[1:]:
                here = self._paths.node(node.name)
                wait_until(lambda here=here: libvirt_daemon.answers(here), self._timeout, f"libvirt on {node.name}")  # type: ignore[misc]
        if "database" in lab.services:
            self._progress("database")
            for node in lab.nodes:
                inside.wait_for_database(self._paths, node.name, len(lab.nodes), self._timeout)

    def _start_product(self, lab: LabState) -> None:
        if "agent" in lab.services or "api" in lab.services:
            self._progress("database schema")
            done = inside.run(self._paths, lab.nodes[0].name, product("db", "upgrade"), self._timeout)
            if done.returncode != 0:
                raise LabError(f"holdfast db upgrade failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        for service in ("agent", "api"):
            if service in lab.services:
                self._progress(service)
                for node in lab.nodes:
                    inside.start(self._paths, node.name, service)
        if "api" in lab.services:
            for node in lab.nodes:
                socket = self._paths.node(node.name).inside("/run/holdfast/api.sock")
                wait_until(socket.exists, self._timeout, f"the API on {node.name}")

    @property
    def _capabilities(self) -> Path:
        return self._cache / "libvirt-capabilities"
