"""A cluster of node VMs, set up by the commands of docs/install.md and by nothing else."""

import json
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from app.adapters.cluster_files.toml_text import to_toml
from app.lab.cloud import IMAGE, PLAN, Cloud, Tokens
from app.lab.double_writes import DiskReport, inspect_volume
from app.lab.guest import build
from app.lab.paths import CACHE as GUESTS
from tests.nodes.errors import NodeError
from tests.nodes.image import NodeImage
from tests.nodes.machine import Machine, until
from tests.nodes.rack import Rack, run
from tests.nodes.repository import Repository
from tests.nodes.shared import POOL, SERVER, ScsiDisk, SharedDirectory
from tests.nodes.steps import Steps

#: as docs/install.md has it; nfs-common is for the pool
PACKAGES = "chrony corosync fence-agents galera-4 ipmitool mariadb-server rsync stunnel4 nfs-common"
CONFIG = "/etc/holdfast/holdfast.toml"
UNITS = "/etc/systemd/system"
_SLOW = "[Service]\nTimeoutStartSec=600\n"
COMMAND_SECONDS = 600
#: under emulation an agent starts more slowly than the watchdog waits: to end one that only stood still for a moment
#: would cost its node a reset, so neither the unit nor the coordinator does it before
PATIENCE_SECONDS = 60
#: Corosync's, in milliseconds: under emulation beside other work a node may be silent for more than the usual second
TOKEN = 3000
#: a member that joins gets the whole log, encrypted, by one emulated core: the default's 96 MB take minutes
_DATABASE = "[mariadbd]\ninnodb_log_file_size = 8M\ninnodb_buffer_pool_size = 64M\n"
#: the snapshot of all machines
FORMED = "formed"
_IMAGE_FILES = {"path": "disk", "kernel": "kernel", "initrd": "initrd"}


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
        self.cloud: Cloud
        self._tokens: Tokens

    def machine(self, name: str) -> Machine:
        """By its name."""
        return next(m for m in self.machines if m.name == name)

    def each(self, work: Callable[[Machine], object], machines: Iterable[Machine] | None = None) -> None:
        """Do it on all of them at once; the first error is raised when all are done."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(work, self.machines if machines is None else list(machines)))

    # -- from nothing to a cluster

    def boot(self) -> None:
        """Power on, all at once."""
        with self.steps.step(f"{len(self.machines)} nodes boot"):
            for machine in self.machines:
                machine.power_on()
            self.each(Machine.wait_for_ssh)

    def install(self) -> None:
        """The package and what it works with, by apt, from the rack's repository."""
        with self.steps.step("apt install on each"):
            self.each(self._install)

    def _install(self, machine: Machine) -> None:
        machine.put("/etc/chrony/sources.d/rack.sources", f"server {SERVER} iburst minpoll 2 maxpoll 4\n".encode())
        machine.put("/etc/chrony/conf.d/rack.conf", b"makestep 0.1 -1\n")
        machine.put(f"{UNITS}/holdfast-agent.service.d/rack.conf", f"{_SLOW}WatchdogSec={PATIENCE_SECONDS}\n".encode())
        machine.put(f"{UNITS}/holdfast-api.service.d/rack.conf", _SLOW.encode())
        machine.put("/etc/mysql/mariadb.conf.d/60-rack.cnf", _DATABASE.encode())
        machine.put("/etc/dpkg/dpkg.cfg.d/rack", b"force-unsafe-io\n")
        self.repository.teach(machine)
        apt_install(machine, f"holdfast {PACKAGES}")
        # Once, in place of dpkg's own for each file.
        machine.ssh("sync; systemctl restart chrony")

    def mount(self) -> None:
        """The shared directory, with the image that VMs are started from."""
        with self.steps.step("the shared directory is mounted on each"):
            guest = build.image(GUESTS)
            shutil.copytree(guest, self.shared.path / "images" / build.NAME, dirs_exist_ok=True)
            self.shared.serve()
            self.each(self.shared.mount)

    def init(self) -> None:
        """The first node, with a pool."""
        first = self.machines[0]
        with self.steps.step("holdfast cluster init"):
            said = json.loads(holdfast(first, f"cluster init {_addresses(first)} --token {TOKEN} --json"))
        self._tokens = Tokens(said["admin_token"], said["project_token"])
        with self.steps.step("a pool"):
            self.configure(first, {"pools": [_pool()], "recovery": {"agent_silence_seconds": PATIENCE_SECONDS}})

    def configure(self, machine: Machine, sections: dict[str, Any]) -> None:
        """Lay those sections over the ones in the node's holdfast.toml, and start the agent anew.

        Not where VMs run: under emulation an agent starts more slowly than the watchdog waits.
        """
        tables = {**tomllib.loads(machine.ssh(f"cat {CONFIG}")), **sections}
        machine.ssh(f"cat > {CONFIG}", stdin=to_toml(tables).encode())
        machine.ssh("systemctl restart holdfast-agent")

    def join(self, machine: Machine) -> None:
        """Invited by the first node."""
        first = self.machines[0]
        with self.steps.step(f"{machine.name}: holdfast cluster join"):
            words = first.ssh_words("holdfast cluster invite --json")
            inviting = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            try:
                token = _first_json(inviting.stdout)["token"]
                holdfast(machine, f"cluster join {first.storage_address} --token {token} {_addresses(machine)}")
                assert inviting.wait(timeout=60) == 0
            finally:
                inviting.kill()
                inviting.wait()

    def open(self) -> None:
        """A way from here to the API, then a plan and an image."""
        with self.steps.step("a plan and an image"):
            self.connect()
            image = tomllib.loads((build.image(GUESTS) / "image.toml").read_text())["image"]
            files = {key: f"{image['name']}/{image[file]}" for key, file in _IMAGE_FILES.items()}
            body = {"cmdline": image["cmdline"], "disk_gib": 1, "memory_min_mib": image["memory_mib_min"]}
            self.cloud.admin("POST", "/images", json={"name": IMAGE, "pool": "shared", **files, **body})
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
        self.cloud = Cloud("http://nodes", self._tokens, patience_seconds=300, timeout_seconds=60, transport=transport)

    def save(self) -> None:
        """All machines as they are now, as `formed`. VMs must not be in it: their volumes would not fit any more."""
        assert not self.cloud.vms()
        with self.steps.step("the formed cluster is saved"):
            self._each_still(lambda machine: machine.save(FORMED))

    def load(self) -> None:
        """As it was when it was saved, at the time of now."""
        with self.steps.step("the formed cluster is restored"):
            self.shared.empty()
            for machine in self.machines:
                machine.load(FORMED)
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

    def power_off(self) -> None:
        """Everything, at once."""
        for machine in self.machines:
            machine.power_off()

    # -- what is there

    @property
    def admin_token(self) -> str:
        """The first operator's."""
        return self._tokens.admin

    def create(self, names: list[str], timeout_seconds: float = 180) -> dict[int, str]:
        """VMs, wherever the product puts them. Name by id, once all are verified up."""
        ids = {self.cloud.create_vm(name): name for name in names}
        self.cloud.wait(self.cloud.all_verified, f"{len(names)} VMs verified up", timeout_seconds)
        return ids

    def create_on(self, node: str, names: list[str]) -> dict[int, str]:
        """VMs on that node: no other takes any meanwhile."""
        others = [m.name for m in self.machines if m.name != node]
        for other in others:
            self.cloud.admin("POST", f"/nodes/{other}/maintenance", json={"maintenance": True})
        ids = self.create(names)
        for other in others:
            self.cloud.admin("POST", f"/nodes/{other}/maintenance", json={"maintenance": False})
        return ids

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


def apt_install(machine: Machine, packages: str) -> None:
    """As an operator would, but asked nothing."""
    line = f"DEBIAN_FRONTEND=noninteractive apt-get install -y -q {packages}"
    machine.ssh(line, timeout_seconds=COMMAND_SECONDS)


def holdfast(machine: Machine, words: str) -> str:
    """A command of the product on that node; what it printed."""
    return machine.ssh(f"holdfast {words}", timeout_seconds=COMMAND_SECONDS)


def build_package(directory: Path, version: str = "") -> Path:
    """`./dev deb`, into that directory."""
    root = Path(__file__).resolve().parents[2]
    words = ["--version", version] if version else []
    return Path(run(str(root / "dev"), "deb", "--out", str(directory), *words).splitlines()[-1])


def _addresses(machine: Machine) -> str:
    return f"--address {machine.storage_address} --address {machine.address}"


def _pool() -> dict[str, Any]:
    return {"name": "shared", "driver": "file", "shared": True, "options": {"path": str(POOL)}}


def _first_json(lines: Iterable[bytes] | None) -> dict[str, Any]:
    """The first JSON document of a program that goes on running."""
    text = ""
    for line in lines or ():
        text += line.decode()
        with suppress(ValueError):
            return dict(json.loads(text))
    raise NodeError(f"no JSON in {text!r}")
