"""A lab: up, what one can do to its nodes, down. The state is on disk, so any process can act on a running lab."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.lab import fence_agent, inside, network, power
from app.lab.bring_up import PRODUCT, SERVICES, BringUp, NodeSettings, Order, guest_image
from app.lab.corosync import Token
from app.lab.errors import LabError
from app.lab.paths import CACHE, CONFIG_IN_NODE, ROOT, LabPaths, NodePaths
from app.lab.power_on import power_on
from app.lab.processes import Process
from app.lab.state import LabState, NodeState, events, load_lab, load_power, record
from app.lab.tear_down import tear_down
from app.lab.units import is_running, kill_unit, load_unit_state, load_units, start_unit
from app.lab.wait import wait_until

__all__ = ["SERVICES", "Lab", "NodeSettings", "Token", "remove_all"]
Progress = Callable[[str], None]
QEMU = "/usr/bin/qemu-system-x86_64"
_IMAGE_FILES = {"path": "disk", "kernel": "kernel", "initrd": "initrd"}


def _quiet(_: str) -> None:
    pass


def remove_all(root: Path = ROOT, cache: Path = CACHE) -> None:
    """Every lab below `root`, also one of which only namespaces are left, and all that labs cached."""
    known = {path.name for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()
    for name in sorted(known | network.labs_with_namespaces()):
        tear_down(name, LabPaths(root / name))
    for directory in (root, cache):
        shutil.rmtree(directory, ignore_errors=True)


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
        token: Token | None = None,
        encrypted: bool = False,
        watchdog_seconds: float = 8,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        timeout_seconds: float = 120,
        progress: Progress = _quiet,
    ) -> None:
        """Bring a new lab up and wait until its services answer; on any failure nothing is left.

        `config`: table -> settings laid over each node's configuration. Errors: LabError.
        """
        if self.paths.directory.exists():
            raise LabError(f"lab {self.name} is there already; `holdfast lab down --name {self.name}` takes it down")
        settings = [NodeSettings()] * nodes if isinstance(nodes, int) else list(nodes)
        order = Order(
            nodes=tuple(settings),
            services=tuple(services),
            token=token or Token(),
            encrypted=encrypted,
            watchdog_seconds=watchdog_seconds,
            config=config or {},
        )
        try:
            BringUp(self.name, self.paths, self.cache, order, progress, timeout_seconds).run()
            shutil.rmtree(self._failed_logs, ignore_errors=True)
        except BaseException:
            self._keep_logs()
            self.down()
            raise

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
        return guest_image(self.paths)

    def image_description(self) -> dict[str, Any]:
        """The guest image as the product wants it: paths below the pool's images, disk in GiB, memory in MiB."""
        image = tomllib.loads((self.guest_image / "image.toml").read_text())["image"]
        files = {key: f"{image['name']}/{image[file]}" for key, file in _IMAGE_FILES.items()}
        disk_gib = -(-int(image["disk_mib"]) // 1024)
        return {**files, "cmdline": image["cmdline"], "disk_gib": disk_gib, "memory_min_mib": image["memory_mib_min"]}

    def volume(self, vm_id: int) -> Path:
        """The host's path of a VM's system volume. Errors: LabError when it has none."""
        found = [path for path in self.paths.pool.rglob(f"vm-{vm_id}-0*") if path.is_file()]
        if len(found) != 1:
            raise LabError(f"VM {vm_id} has {len(found)} volumes in the pool: {found}")
        return found[0]

    @property
    def product(self) -> tuple[str, ...]:
        """How to call `holdfast` inside a node."""
        return PRODUCT

    @property
    def config_path(self) -> str:
        """The product's configuration file inside a node."""
        return CONFIG_IN_NODE

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
        return inside.run(self.paths, node, argv, timeout_seconds)

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

    def thaw(self, node: str, with_watchdog: bool = True) -> None:
        """Let it go on; `with_watchdog` False leaves a watchdog that was frozen with it dead."""
        power.thaw(self.paths, node, "lab", with_watchdog)

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

    def stop_agent(self, node: str) -> None:
        """SIGSTOP the agent alone; the rest of the node goes on. Its node's API ends it, or the watchdog the node."""
        record(self.paths, "stop-agent", node, "lab")
        state = load_unit_state(self._node(node), "agent")
        if state is None or state.process is None:
            raise LabError(f"no agent runs on {node}")
        state.process.send(signal.SIGSTOP)

    def kill_guest(self, node: str, vm_id: int) -> None:
        """SIGKILL the QEMU of a VM. Errors: LabError when it has none on this node."""
        mark = f"guest=hf-{vm_id},".encode()
        found = [
            pid for pid in power.processes_of(self.state, node) if mark in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        if not found:
            raise LabError(f"VM {vm_id} has no QEMU on {node}")
        record(self.paths, "kill-guest", node, "lab", vm=vm_id)
        Process.of(found[0]).send(signal.SIGKILL)

    def panic_guest(self, node: str, vm_id: int) -> None:
        """An NMI, at which the lab guest's kernel panics. Errors: LabError when the VM does not run on this node."""
        done = self.run(node, ["virsh", "--quiet", "inject-nmi", f"hf-{vm_id}"])
        if done.returncode != 0:
            raise LabError(f"VM {vm_id} on {node}: {done.stderr.strip()}")
        record(self.paths, "panic-guest", node, "lab", vm=vm_id)

    def break_starts(self, node: str) -> None:
        """No QEMU can be started on this node any more; what runs goes on."""
        self.run(node, ["mount", "--bind", "/bin/false", QEMU])

    def mend_starts(self, node: str) -> None:
        self.run(node, ["umount", QEMU])

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
        inside.wait_for_database(self.paths, node, size, timeout_seconds)

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
        return inside.init_process(self.paths, node)

    def _kill(self, node: str, service: str, restart: bool) -> None:
        self.state.node(node)
        record(self.paths, f"kill-{service}", node, "lab", restart=restart)
        kill_unit(self._node(node), service, restart)

    def _start(self, node: str, service: str) -> None:
        start_unit(self._node(node), service, self.init_process(node))

    @property
    def _failed_logs(self) -> Path:
        return self.paths.directory.with_name(f"{self.name}-failed-logs")
