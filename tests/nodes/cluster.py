"""A cluster of node VMs, and what the tests do to it and ask it. `Reader` sets it up."""

import json
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

from app.adapters.cluster_files.toml_text import to_toml
from app.lab.cloud import IMAGE, PLAN, Cloud, Tokens
from app.lab.double_writes import DiskReport, inspect_volume
from app.lab.guest import build
from app.lab.paths import CACHE as GUESTS
from tests.nodes.bmc import Bmc
from tests.nodes.bootable import bootable
from tests.nodes.errors import NodeError
from tests.nodes.image import OWN_SUITE, NodeImage
from tests.nodes.machine import Machine, until
from tests.nodes.rack import Rack, run
from tests.nodes.repository import Repository
from tests.nodes.shared import SERVER, ScsiDisk, SharedDirectory
from tests.nodes.steps import Steps

CONFIG = "/etc/holdfast/holdfast.toml"
UNITS = "/etc/systemd/system"
_SLOW = "[Service]\nTimeoutStartSec=600\n"
COMMAND_SECONDS = 600
#: under emulation an agent starts more slowly than the watchdog waits: to end one that only stood still for a moment
#: would cost its node a reset, so neither the unit nor the coordinator does it before
PATIENCE_SECONDS = 60
#: between two writes of a guest, by its image. A nested guest that writes each 3 s takes 16 % of its node's core, each
#: 10 s 8 %, one that idles 4 %; only where a copy that must not write has little time to do so it is to be lively.
LIVELY = "lively"
TICK_SECONDS = {IMAGE: 10, LIVELY: 3}
#: Corosync's, in milliseconds: under emulation beside other work a node may be silent for more than the usual second
TOKEN = 3000
#: a member that joins gets all files, encrypted, by one emulated core: a log of the default's 96 MB takes minutes, and
#: so do the 64 MB of nothing by which the system tablespace would grow at once
_DATABASE = "[mariadbd]\ninnodb_log_file_size = 8M\ninnodb_autoextend_increment = 4\ninnodb_buffer_pool_size = 64M\n"
#: The kernel's slices of time, 0.75 ms else, are as much longer as everything takes: each switch empties the emulated
#: TLB. Beside three busy programs and a guest another guest came up in 60 s, without this not in 150 s, and a tick of
#: the first cost 1.5 s of the core for 6. Who wakes up still gets its turn soon. Debian 13 has but the base slice.
_SLICES_NS = {
    "latency_ns": 60_000_000, "min_granularity_ns": 20_000_000, "wakeup_granularity_ns": 2_000_000,
    "base_slice_ns": 20_000_000,
}  # fmt: skip
#: a migration begins with a QEMU on the target, which takes one emulated core a minute
_MIGRATION_SECONDS = 300
#: for every node's holdfast.toml
RACK_SECTIONS: dict[str, Any] = {
    "recovery": {"agent_silence_seconds": PATIENCE_SECONDS},
    "migration": {"stall_seconds": _MIGRATION_SECONDS},
}
#: a snapshot of all machines: the guide was followed to its end, its VM is deleted
FORMED = "formed"
#: what the guide has its reader copy
CLOUD_IMAGE = "debian-12-generic-amd64.qcow2"
_IMAGE_FILES = {"path": "disk", "kernel": "kernel", "initrd": "initrd"}
T = TypeVar("T")


class Cluster:
    """Machines `node1`, `node2`, ... and what they share. Every method that takes long is a step with its time."""

    def __init__(
        self, rack: Rack, image: NodeImage, repository: Repository, steps: Steps, *, count: int = 3
    ) -> None:  # fmt: skip
        self.rack, self.steps = rack, steps
        self.machines = [Machine(rack, image, n) for n in range(1, count + 1)]
        disk = ScsiDisk(rack)
        for machine in self.machines:
            machine.extra = disk.qemu()
        self.shared = SharedDirectory(rack)
        self.repository = repository
        self.bmcs: dict[str, Bmc] = {}
        #: what the guide's blocks printed, by server and first line
        self.printed: dict[tuple[str, str], str] = {}
        self._cloud: Cloud | None = None
        self._tokens: Tokens

    @property
    def cloud(self) -> Cloud:
        """Its API, once `open` has found the way."""
        if self._cloud is None:
            raise NodeError("nobody opened the way to the API")
        return self._cloud

    def machine(self, name: str) -> Machine:
        """By its name."""
        return next(m for m in self.machines if m.name == name)

    def each(self, work: Callable[[Machine], object]) -> None:
        """Do it on all of them at once; the first error is raised when all are done."""
        at_once(work, self.machines)

    # -- from nothing to a cluster

    def boot(self) -> None:
        """Power on, all at once; every machine has a management controller."""
        self.bmcs = {m.name: Bmc(self.rack, m) for m in self.machines}
        with self.steps.step(f"{len(self.machines)} nodes boot"):
            for machine in self.machines:
                machine.power_on()
            self.each(Machine.wait_for_ssh)

    def prepare(self, package: Path) -> None:
        """What the guide has its reader have: a clock, a shared directory, the package, an image to start VMs from.

        And patience with emulated cores, which is the rack's own.
        """
        with self.steps.step("the rack's own settings, the shared directory and the package on each"):
            guest = build.image(GUESTS)
            shutil.copytree(guest, self.shared.path / "images" / build.NAME, dirs_exist_ok=True)
            cloud_image = self.rack.directory / CLOUD_IMAGE
            bootable(guest, cloud_image, TICK_SECONDS[IMAGE])
            self.shared.serve()
            urls = {m.name: [self.repository.offer(package)] for m in self.machines}
            urls["node1"].append(self.repository.offer(cloud_image))
            self.each(lambda machine: self._prepare(machine, urls[machine.name]))

    def _prepare(self, machine: Machine, urls: Iterable[str]) -> None:
        rack_settings(machine)
        self.shared.mount(machine)
        for url in urls:
            machine.ssh(f"curl -sSfO {url}")

    def configure(self, machine: Machine, sections: dict[str, Any]) -> None:
        """Lay those sections over the ones in the node's holdfast.toml, and start the agent anew.

        Not where VMs run: under emulation an agent starts more slowly than the watchdog waits.
        """
        self.lay(machine, sections)
        machine.ssh("systemctl restart holdfast-agent")

    def lay(self, machine: Machine, sections: dict[str, Any]) -> None:
        """Lay those sections over the ones in the node's holdfast.toml, for the agent's next start."""
        tables = {**tomllib.loads(machine.ssh(f"cat {CONFIG}")), **sections}
        machine.ssh(f"cat > {CONFIG}", stdin=to_toml(tables).encode())

    def open(self) -> None:
        """A way from here to the API, then a plan and an image, and no VM any more."""
        with self.steps.step("a plan and an image"):
            said = json.loads(self.machines[0].ssh("cat /etc/holdfast/first-tokens.json"))
            self._tokens = Tokens(said["admin_token"], said["project_token"])
            self.connect()
            self.delete([int(vm["id"]) for vm in self.cloud.vms()])
            image = tomllib.loads((build.image(GUESTS) / "image.toml").read_text())["image"]
            files = {key: f"{image['name']}/{image[file]}" for key, file in _IMAGE_FILES.items()}
            body = {"pool": "shared", **files, "disk_gib": 1, "memory_min_mib": image["memory_mib_min"]}
            for name, seconds in TICK_SECONDS.items():
                cmdline = f"{image['cmdline']} TICK_SECONDS={seconds}"
                self.cloud.admin("POST", "/images", json={"name": name, "cmdline": cmdline, **body})
            self.cloud.admin("POST", "/plans", json={"name": PLAN, "cores": 1, "memory_mib": 128, "disk_gib": 1})
            names = {m.name for m in self.machines}
            self.cloud.wait(lambda: set(self.cloud.nodes()) == names, "every node's first report", 120)

    def connect(self) -> None:
        """The API of whichever node answers, as `cloud`."""
        socket = self.rack.directory / "api.sock"
        words = [sys.executable, "-m", "tests.nodes.gateway", str(socket), *(m.address for m in self.machines)]
        self.rack.start(words, self.rack.directory / "gateway.log")
        until(socket.exists, "the way to the API", 30)
        transport = httpx.HTTPTransport(uds=str(socket))
        self._cloud = Cloud("http://nodes", self._tokens, patience_seconds=300, timeout_seconds=60, transport=transport)

    def save(self, tag: str = FORMED) -> None:
        """All machines as they are now. VMs must not be in it: their volumes would not fit any more."""
        assert not self.cloud.vms()
        with self.steps.step(f"the {tag} cluster is saved"):
            self._each_still(lambda machine: machine.save(tag))

    def load(self, tag: str = FORMED) -> None:
        """As it was when it was saved, at the time of now."""
        with self.steps.step(f"the {tag} cluster is restored"):
            self.shared.empty()
            # All of them first: what one that still runs sends, waits for those that are loaded already, and Corosync
            # then takes the first thousand messages of its restored self for ones that it has had.
            for machine in self.machines:
                machine.power_off()
            for machine in self.machines:
                machine.load(tag)
            for machine in self.machines:
                self.rack.plug_all(machine.number)
                machine.zombie(on=False)
            self.each(lambda machine: machine.ssh(f"date -s @{time.time():.3f}"))
            self.cloud.wait(self.is_whole, "the restored cluster to be whole", 120)

    def _each_still(self, work: Callable[[Machine], object]) -> None:
        """With all clocks stopped, so that nobody misses anybody."""
        for machine in self.machines:
            machine.zombie(on=True)
        self.each(work)
        for machine in self.machines:
            machine.zombie(on=False)

    def is_whole(self) -> bool:
        """All nodes are there, host VMs and have nothing to complain about."""
        rows = self.cloud.nodes()
        return {m.name for m in self.machines} <= set(rows) and all(
            row["state"] == "online" and row["health"] == "ok" for row in rows.values()
        )

    def close(self) -> None:
        """Everything is off, at once, and nobody asks it any more."""
        if self._cloud is not None:
            self._cloud.close()
        for machine in self.machines:
            machine.power_off()

    # -- what is there

    @property
    def admin_token(self) -> str:
        """The first operator's."""
        return self._tokens.admin

    def create(self, names: list[str], image: str = IMAGE, timeout_seconds: float = 180) -> dict[int, str]:
        """VMs, wherever the product puts them. Name by id, once all are verified up.

        As many at a time as there are nodes: an emulated core that starts two guests has no time for its database.
        """
        ids: dict[int, str] = {}
        for first in range(0, len(names), len(self.machines)):
            wave = names[first : first + len(self.machines)]
            ids |= {self.cloud.create_vm(name, image=image): name for name in wave}
            self.cloud.wait(self.cloud.all_verified, f"VMs {', '.join(wave)} verified up", timeout_seconds)
        return ids

    def create_on(self, node: str, names: list[str], image: str = IMAGE) -> dict[int, str]:
        """VMs on that node: no other takes any meanwhile."""
        others = [m.name for m in self.machines if m.name != node]
        for other in others:
            self.cloud.admin("POST", f"/nodes/{other}/maintenance", json={"maintenance": True})
        ids: dict[int, str] = {}
        for name in names:
            ids |= self.create([name], image)
        for other in others:
            self.cloud.admin("POST", f"/nodes/{other}/maintenance", json={"maintenance": False})
        return ids

    def delete(self, vms: Collection[int]) -> None:
        """They are gone, with their volumes."""
        for vm in vms:
            self.cloud.customer("DELETE", f"/servers/{vm}")
        self.cloud.wait(lambda: not {int(v["id"]) for v in self.cloud.vms()} & set(vms), "VMs to be gone", 120)

    def on(self, node: str) -> dict[int, int]:
        """Generation by id of the VMs that are wanted running on that node."""
        wanted = [v for v in self.cloud.vms() if v["desired"] == "running" and v["node"] == node]
        return {int(v["id"]): int(v["generation"]) for v in wanted}

    def fullest(self) -> str:
        """The node with most VMs."""
        return max((m.name for m in self.machines), key=lambda name: len(self.on(name)))

    def recovered(self, node: str, vms: dict[int, int], *, after: int = 0, timeout_seconds: float = 180) -> Any:
        """The closed incident, once all of them run elsewhere, verified, in a newer generation."""

        def moved() -> bool:
            now = {int(v["id"]): v for v in self.cloud.vms()}
            there = (now[i] for i in vms)
            return all(v["verified"] and v["node"] != node and v["generation"] > vms[v["id"]] for v in there)

        self.cloud.wait(moved, f"{len(vms)} VMs of {node} verified elsewhere", timeout_seconds)

        def closed() -> list[Any]:
            return [i for i in self.cloud.incidents(node, after=after) if i["phase"] == "closed"]

        self.cloud.wait(lambda: bool(closed()), f"the incident of {node} closed", 60)
        return closed()[-1]

    def disk(self, vm: int) -> DiskReport:
        """What its guests wrote, read from its volume."""
        return inspect_volume(self.shared.volume(vm))

    def writes_on(self, vms: Iterable[int], *, migrated: Container[int] = (), timeout_seconds: float = 60) -> None:
        """Wait until each guest has written after now, in the generation that its row says.

        One that was migrated alive goes on writing the generation that it was started with.
        """
        rows = {int(v["id"]): int(v["generation"]) for v in self.cloud.vms()}
        before = {vm: self.disk(vm).latest_tick for vm in vms}

        def goes_on(vm: int) -> bool:
            report = self.disk(vm)
            generations = {run.generation for run in report.runs}
            return (rows[vm] in generations or vm in migrated) and report.latest_tick > before[vm]

        for vm in before:
            until(partial(goes_on, vm), f"VM {vm} writing as generation {rows[vm]}", timeout_seconds)

    def prove(self, vms: Iterable[int]) -> None:
        """No two copies of any of them ever wrote at the same time."""
        for vm in vms:
            report = self.disk(vm)
            assert report.double_writes == 0, (vm, report.overlaps, report.violations, report.corruptions)


def at_once(work: Callable[[T], object], things: Iterable[T]) -> None:
    """Each in a thread of its own; the first error is raised when all are done."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(work, things))


def first_times(incident: Mapping[str, Any]) -> dict[str, datetime]:
    """When each kind of step came first."""
    first: dict[str, datetime] = {}
    for step in incident["steps"]:
        at = datetime.fromisoformat(step["at"])
        first[step["what"]] = min(at, first.get(step["what"], at))
    return first


def rack_settings(machine: Machine) -> None:
    """Its clock, and patience with emulated cores."""
    slices = "".join(f"w /sys/kernel/debug/sched/{k} - - - - {n}\n" for k, n in _SLICES_NS.items())
    machine.put("/etc/tmpfiles.d/rack.conf", slices.encode())
    machine.ssh("systemd-tmpfiles --create /etc/tmpfiles.d/rack.conf")
    machine.put("/etc/chrony/sources.d/rack.sources", f"server {SERVER} iburst minpoll 2 maxpoll 4\n".encode())
    machine.put("/etc/chrony/conf.d/rack.conf", b"makestep 0.1 -1\n")
    machine.put(f"{UNITS}/holdfast-agent.service.d/rack.conf", f"{_SLOW}WatchdogSec={PATIENCE_SECONDS}\n".encode())
    machine.put(f"{UNITS}/holdfast-api.service.d/rack.conf", _SLOW.encode())
    machine.put("/etc/mysql/mariadb.conf.d/60-rack.cnf", _DATABASE.encode())
    machine.put("/etc/dpkg/dpkg.cfg.d/rack", b"force-unsafe-io\n")
    machine.put("/etc/apt/apt.conf.d/rack", b'APT::Get::Assume-Yes "true";\n')
    machine.ssh("systemctl restart chrony")


def take_unit_settings_back(machine: Machine) -> None:
    """Those of `rack_settings` that bear the product's name, before somebody looks what a purge left."""
    machine.ssh(f"rm {UNITS}/holdfast-*.service.d/rack.conf && rmdir {UNITS}/holdfast-*.service.d")


def apt_install(machine: Machine, packages: str) -> None:
    """As an operator would, but asked nothing."""
    line = f"DEBIAN_FRONTEND=noninteractive apt-get install -y -q {packages}"
    machine.ssh(line, timeout_seconds=COMMAND_SECONDS)


def holdfast(machine: Machine, words: str) -> str:
    """A command of the product on that node; what it printed."""
    return machine.ssh(f"holdfast {words}", timeout_seconds=COMMAND_SECONDS)


def build_package(directory: Path, suite: str, version: str = "") -> Path:
    """`./dev deb`, into that directory; packed quickly, which is half of the time and all that differs."""
    root = Path(__file__).resolve().parents[2]
    words = ["--version", version] if version else []
    words += ["--for", suite] if suite != OWN_SUITE else []
    quick = ("env", "DPKG_DEB_COMPRESSOR_TYPE=gzip", "DPKG_DEB_COMPRESSOR_LEVEL=1")
    said = run(*quick, str(root / "dev"), "deb", "--out", str(directory), *words)
    return directory / Path(said.splitlines()[-1]).name
