"""A lab: up, what one can do to its nodes, down. The state is on disk, so any process can act on a running lab."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.lab import corosync, fence_agent, galera, holdfast_config, libvirt_daemon, network, power
from app.lab.errors import LabError
from app.lab.guest import build as guest
from app.lab.parts import missing_parts
from app.lab.paths import CACHE, CONFIG_IN_NODE, POOL_IN_NODE, PRIVATE_DIRECTORIES, ROOT, LabPaths, NodePaths
from app.lab.power_on import power_on
from app.lab.processes import Process
from app.lab.spawn import spawn
from app.lab.state import LabState, NodeState, events, load_lab, load_power, record, save_lab
from app.lab.tear_down import tear_down
from app.lab.units import Unit, is_running, kill_unit, load_unit_state, load_units, save_unit, start_unit
from app.lab.wait import wait_until

SERVICES = ("corosync", "database", "libvirt", "agent", "api")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class NodeSettings:
    """What a node of a new lab is. `role`: compute, spare or witness."""

    role: str = "compute"
    rack: str = ""
    memory_mib: int = 8192
    cores: int = 8


def _quiet(_: str) -> None:
    pass


class Lab:
    """`name` keeps several labs on one machine apart; all of one lab's things carry it."""

    def __init__(self, name: str = "lab", root: Path = ROOT, cache: Path = CACHE) -> None:
        if not name.isalnum() or len(name) > 8:
            raise LabError(f"lab name {name!r}: use at most 8 letters and digits")
        self.name = name
        self.cache = cache
        self.paths = LabPaths(root / name)

    # -- up and down

    def up(
        self,
        nodes: int | Sequence[NodeSettings] = 3,
        services: Sequence[str] = SERVICES,
        *,
        token_milliseconds: int = 1000,
        encrypted: bool = False,
        watchdog_seconds: float = 8,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        timeout_seconds: float = 120,
        progress: Progress = _quiet,
    ) -> None:
        """Bring a new lab up and wait until its services answer; on any failure nothing is left.

        `config`: table -> settings laid over each node's configuration. Errors: LabError.
        """
        if missing := missing_parts():
            raise LabError("the lab needs " + "; ".join(missing))
        if unknown := set(services) - set(SERVICES):
            raise LabError(f"unknown services {sorted(unknown)}; there are {', '.join(SERVICES)}")
        if self.paths.directory.exists():
            raise LabError(f"lab {self.name} is there already; take it down with `holdfast lab down {self.name}`")
        settings = [NodeSettings()] * nodes if isinstance(nodes, int) else list(nodes)
        try:
            progress("guest image")
            self._install_guest()
            progress("network")
            lab = self._build(settings, tuple(services), watchdog_seconds)
            progress("disks and settings")
            key = corosync.new_key() if encrypted else None
            for node in lab.nodes:
                corosync.write_config(self._node(node.name).inside("/etc/corosync"), lab.nodes, token_milliseconds, key)
            self._write_config(lab, config or {})
            self._prepare_services(lab)
            progress("power")
            for node in lab.nodes:
                power_on(self.paths, node.name, "lab")
            self._wait_for_base(lab, timeout_seconds, progress)
            self._start_product(lab, timeout_seconds, progress)
            shutil.rmtree(self._failed_logs, ignore_errors=True)
        except BaseException:
            self._keep_logs()
            self.down()
            raise

    def _install_guest(self) -> None:
        source = guest.image(self.cache)
        target = self.guest_image
        target.parent.mkdir(parents=True)
        # hard links would let a lab change the cache; these are 17 MB
        shutil.copytree(source, target)

    def _build(self, settings: Sequence[NodeSettings], services: tuple[str, ...], watchdog_seconds: float) -> LabState:
        _, password = galera.seed(self.cache)
        names = network.Names(self.name)
        numbers = {f"n{i}": i for i in range(1, len(settings) + 1)}
        network.build(self.name, numbers)
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
        for directory in (self.paths.host, self.paths.fence):
            directory.mkdir(parents=True)
        for node in nodes:
            self._make_node_directories(node, nodes)
        made = self._make_mount_points()
        anchors = {
            role: self._spawn(["ip", "netns", "exec", namespace, "sleep", "infinity"], role)
            for role, namespace in (("switch", names.switch), ("storage", names.storage))
        }
        gateway = self._spawn([sys.executable, "-m", "app.lab.gateway", str(self.paths.directory), *numbers], "gateway")
        lab = LabState(
            name=self.name,
            services=services,
            watchdog_seconds=watchdog_seconds,
            database_password=password,
            nodes=nodes,
            host_processes={**anchors, "gateway": gateway},
            made_directories=made,
        )
        save_lab(self.paths, lab)
        return lab

    def _make_node_directories(self, node: NodeState, nodes: tuple[NodeState, ...]) -> None:
        here = self._node(node.name)
        for name in PRIVATE_DIRECTORIES.values():
            (here.directory / name).mkdir(parents=True)
        for directory in (here.units, here.unit_states, here.log):
            directory.mkdir()
        lines = ["127.0.0.1 localhost", *(f"{other.address} {other.name}" for other in nodes)]
        here.hosts.write_text("\n".join(lines) + "\n")

    def _spawn(self, argv: list[str], role: str) -> Process:
        return spawn(argv, self.paths.directory, self.paths.host / f"{role}.log")

    def _make_mount_points(self) -> tuple[str, ...]:
        """Targets the host lacks; they are removed again when the last lab goes."""
        made: list[str] = []
        for target in (*PRIVATE_DIRECTORIES, POOL_IN_NODE):
            missing = [path for path in (Path(target), *Path(target).parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir()
                made.append(str(path))
        return tuple(made)

    def _write_config(self, lab: LabState, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        for node in lab.nodes:
            file = self._node(node.name).inside(CONFIG_IN_NODE)
            file.write_text(holdfast_config.text(self.paths, lab, node, overrides))
            file.chmod(0o600)

    def _prepare_services(self, lab: LabState) -> None:
        data, _ = galera.seed(self.cache)
        for node in lab.nodes:
            here = self._node(node.name)
            first = node is lab.nodes[0]
            galera.copy_seed(data, here, bootstrap=first)
            libvirt_daemon.prepare(here, self._capabilities)
            units = {
                "corosync": Unit(corosync.ARGV),
                "database": Unit(galera.argv(node, lab.nodes, bootstrap=first)),
                # without cached capabilities only the first node probes QEMU, the others get a copy
                "libvirt": Unit(libvirt_daemon.ARGV, enabled=first or self._capabilities.is_dir()),
                "agent": Unit(_product("agent"), enabled=False, restart=True),
                "api": Unit(_product("api"), enabled=False, restart=True),
            }
            for name in lab.services:
                save_unit(here, name, units[name])

    def _wait_for_base(self, lab: LabState, timeout_seconds: float, progress: Progress) -> None:
        if "libvirt" in lab.services:
            progress("libvirt")
            first = self._node(lab.nodes[0].name)
            wait_until(lambda: libvirt_daemon.answers(first), timeout_seconds, "libvirt on n1")
            if not self._capabilities.is_dir():
                libvirt_daemon.keep_capabilities(first, self._capabilities)
                for node in lab.nodes[1:]:
                    libvirt_daemon.prepare(self._node(node.name), self._capabilities)
                    self._start(node.name, "libvirt")
            for node in lab.nodes[1:]:
                here = self._node(node.name)
                wait_until(lambda here=here: libvirt_daemon.answers(here), timeout_seconds, f"libvirt on {node.name}")  # type: ignore[misc]
        if "database" in lab.services:
            progress("database")
            for node in lab.nodes:
                self.wait_for_database(node.name, len(lab.nodes), timeout_seconds)

    def _start_product(self, lab: LabState, timeout_seconds: float, progress: Progress) -> None:
        if "agent" in lab.services or "api" in lab.services:
            progress("database schema")
            done = self.run(lab.nodes[0].name, [*_product("db", "upgrade")], timeout_seconds=timeout_seconds)
            if done.returncode != 0:
                raise LabError(f"holdfast db upgrade failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        for service in ("agent", "api"):
            if service in lab.services:
                progress(service)
                for node in lab.nodes:
                    self._start(node.name, service)
        if "api" in lab.services:
            for node in lab.nodes:
                socket = self._node(node.name).inside("/run/holdfast/api.sock")
                wait_until(socket.exists, timeout_seconds, f"the API on {node.name}")

    def _keep_logs(self) -> None:
        """A failed `up` leaves its logs beside the lab's directory, for the next look."""
        kept = self._failed_logs
        shutil.rmtree(kept, ignore_errors=True)
        for log in self.paths.directory.glob("**/*.log"):
            if log.is_file():
                target = kept / log.relative_to(self.paths.directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, target)

    def down(self) -> None:
        """Leave nothing: processes, namespaces, mounts, directories. Works on half a lab, too."""
        tear_down(self.name, self.paths)

    # -- looking

    @property
    def state(self) -> LabState:
        return load_lab(self.paths)

    @property
    def is_up(self) -> bool:
        return self.paths.state.exists()

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.state.nodes)

    @property
    def guest_image(self) -> Path:
        """The image directory in the pool that all nodes share (in a node: /srv/holdfast/pool/images/lab-guest)."""
        return self.paths.pool / "images" / guest.NAME

    @property
    def api_port(self) -> int:
        """The port on 127.0.0.1 that forwards to the API of a node that answers."""
        file = self.paths.host / "gateway.json"
        wait_until(file.exists, 20, "the lab's gateway")
        return int(json.loads(file.read_text())["port"])

    def path(self, node: str, inside: str) -> Path:
        """The host's path of a private path in a node, e.g. path("n1", "/var/log/libvirt")."""
        return self._node(node).inside(inside)

    def log(self, node: str, service: str) -> Path:
        return self._node(node).log / f"{service}.log"

    def status(self) -> dict[str, Any]:
        """{"name", "directory", "api", "nodes": [{"name", "address", "power", "frozen", "cut", "silent",
        "services": {name: {"running", "pid", "starts", "exits"}}}]}"""
        lab = self.state
        return {
            "name": lab.name,
            "directory": str(self.paths.directory),
            "api": f"http://127.0.0.1:{self.api_port}",
            "nodes": [self._node_status(node) for node in lab.nodes],
        }

    def _node_status(self, node: NodeState) -> dict[str, Any]:
        here = self._node(node.name)
        state = load_power(here)
        services: dict[str, Any] = {}
        for name in load_units(here):
            unit = load_unit_state(here, name)
            running = is_running(here, name)
            services[name] = {
                "running": running,
                "pid": unit.process.pid if unit and unit.process and running else None,
                "starts": unit.starts if unit else 0,
                "exits": list(unit.exits) if unit else [],
            }
        return {
            "name": node.name,
            "address": node.address,
            "role": node.role,
            "power": state.power,
            "frozen": state.frozen,
            "cut": list(state.cut),
            "silent": list(state.silent),
            "services": services,
        }

    def events(self) -> list[dict[str, Any]]:
        """Who did what to whom, oldest first: see state.record."""
        return events(self.paths)

    def run(self, node: str, argv: Sequence[str], timeout_seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command inside a node and wait for it. Errors: LabError when the node is off."""
        init = self.init_process(node)
        command = ["nsenter", f"--target={init.pid}", "--mount", "--net", "--uts", *argv]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_seconds)

    # -- doing things to nodes

    def kill(self, node: str) -> None:
        """Power cut: cables dead, every process of the node gone at once."""
        power.power_off(self.paths, node, "lab", "asked for")

    def power_on(self, node: str) -> None:
        """Start a node that is off, with all the daemons it had."""
        power_on(self.paths, node, "lab")

    def freeze(self, node: str, with_watchdog: bool = False) -> None:
        """Stop all of the node. Its watchdog still runs and will cut its power, unless it is frozen with it."""
        power.freeze(self.paths, node, "lab", with_watchdog)

    def thaw(self, node: str) -> None:
        power.thaw(self.paths, node, "lab")

    def cut(self, node: str, links: Sequence[str] = network.LINKS, silent: bool = False) -> None:
        """Pull cables; with `silent` the carrier stays and the switch drops every packet."""
        power.cut(self.paths, node, tuple(links), silent, "lab")

    def heal(self, node: str, links: Sequence[str] = network.LINKS) -> None:
        power.heal(self.paths, node, tuple(links), "lab")

    def kill_agent(self, node: str, restart: bool = True) -> None:
        """SIGKILL the agent; its init starts it again half a second later unless `restart` is False."""
        self._kill(node, "agent", restart)

    def restart_agent(self, node: str) -> None:
        """SIGTERM, then the init starts it again; also starts one that was killed for good."""
        if is_running(self._node(node), "agent"):
            kill_unit(self._node(node), "agent", restart=True, signal_number=signal.SIGTERM)
        else:
            self._start(node, "agent")

    def kill_database(self, node: str) -> None:
        self._kill(node, "database", restart=False)

    def start_database(self, node: str) -> None:
        """Returns when the process runs; wait_for_database waits until it is in sync."""
        self._start(node, "database")

    def kill_service(self, node: str, service: str, restart: bool = False) -> None:
        self._kill(node, service, restart)

    def start_service(self, node: str, service: str) -> None:
        self._start(node, service)

    def wait_for_database(self, node: str, size: int | None = None, timeout_seconds: float = 60) -> None:
        """Until the member is in sync in a primary component (of `size` members, if given)."""
        here = self._node(node)

        def synced() -> bool:
            state = load_unit_state(here, "database")
            if state is not None and state.process is None:
                tail = self.log(node, "database").read_text()[-1500:]
                raise LabError(f"the database on {node} has ended with {state.exits[-1:]}: {tail}")
            return galera.is_synced(here, size)

        wait_until(synced, timeout_seconds, f"the database on {node}", 0.1)

    def set_fence_failing(self, node: str, failures: int | None = None, delay_seconds: float = 0) -> None:
        """The next `failures` fence calls for this node fail (None: all of them); 0 repairs it, maybe slow."""
        self.state.node(node)
        count = fence_agent.FOREVER if failures is None else failures
        fence_agent.set_failing(self.paths, node, count, delay_seconds)
        record(self.paths, "fence-set-failing", node, "lab", failures=count, delay_seconds=delay_seconds)

    def freeze_watchdog(self, node: str) -> None:
        """A watchdog that has silently died: it never fires."""
        watchdog = load_power(self._node(node)).watchdog
        if watchdog is None:
            raise LabError(f"{node} is off and has no watchdog")
        watchdog.send(signal.SIGSTOP)

    # -- small change

    def _node(self, node: str) -> NodePaths:
        return self.paths.node(node)

    def init_process(self, node: str) -> Process:
        """The node's first process. Errors: LabError when the node is off."""
        init = load_power(self._node(node)).init
        if init is None or not init.is_alive():
            raise LabError(f"{node} is off; start it with `holdfast lab power-on {node}`")
        return init

    def _kill(self, node: str, service: str, restart: bool) -> None:
        self.state.node(node)
        record(self.paths, f"kill-{service}", node, "lab", restart=restart)
        kill_unit(self._node(node), service, restart)

    def _start(self, node: str, service: str) -> None:
        start_unit(self._node(node), service, self.init_process(node))

    @property
    def _failed_logs(self) -> Path:
        return self.paths.directory.with_name(f"{self.name}-failed-logs")

    @property
    def _capabilities(self) -> Path:
        return self.cache / "libvirt-capabilities"


def _product(*command: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "app.cli.main", *command, "--config", CONFIG_IN_NODE)
