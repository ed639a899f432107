"""A running lab with VMs in it, and what the stories do to it: break something, see the VMs come back, prove it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.lab import galera
from app.lab.cloud import PLAN, Cloud
from app.lab.cluster import Lab
from app.lab.double_writes import DiskReport, inspect_volume
from app.lab.errors import LabError
from app.lab.opening import create_on
from app.lab.wait import wait_until

Json = dict[str, Any]


@dataclass(frozen=True)
class Placed:
    """Where a VM was when a story began."""

    name: str
    node: str
    generation: int


class Story:
    """The same lab for one story after the other; `whole_again` is run behind each."""

    def __init__(self, lab: Lab, cloud: Cloud) -> None:
        self.lab = lab
        self.cloud = cloud
        self._named = 0
        #: VMs that were migrated alive: their guests still write the generation and node that they were started with
        self.migrated: set[int] = set()

    # -- what is there

    def placed(self, node: str = "") -> dict[int, Placed]:
        """The VMs that are wanted running (on that node), by id."""
        wanted = [v for v in self.cloud.vms() if v["desired"] == "running" and node in ("", v["node"])]
        return {v["id"]: Placed(v["name"], v["node"], v["generation"]) for v in wanted}

    def vm(self, vm_id: int) -> Json:
        """The row of one VM as operators see it."""
        return next(v for v in self.cloud.vms() if v["id"] == vm_id)

    def fill(self, node: str, count: int) -> dict[int, Placed]:
        """At least `count` verified VMs on the node. Returns all that run there."""
        missing = count - len(self.placed(node))
        if missing > 0:
            names = [self.new_name() for _ in range(missing)]
            create_on(self.cloud, node, names)
        return self.placed(node)

    def new_name(self) -> str:
        """A name that no VM of this lab had yet."""
        self._named += 1
        return f"story{self._named}"

    def coordinator(self) -> str:
        """The node whose agent holds the newest epoch."""
        return self.query("SELECT holder FROM epochs")

    def query(self, sql: str) -> str:
        """One value out of the state, read as a member of the database has it; or a write that a story needs."""
        for node in self.lab.nodes:
            socket = self.lab.path(node, galera.SOCKET)
            command = ["mariadb", "--no-defaults", f"--socket={galera.SOCKET}", "-NBe", sql, galera.DATABASE]
            if not socket.exists() or not galera.is_synced(self.lab.paths.node(node)):
                continue
            done = self.lab.run(node, command)
            if done.returncode == 0:
                return done.stdout.strip()
        raise LabError(f"no member of the database answers: {sql}")

    def others(self, *nodes: str) -> list[str]:
        """The nodes that are not named."""
        return [n for n in self.lab.nodes if n not in nodes]

    # -- what comes

    def incident(self, node: str, *, after: int = 0, timeout_seconds: float = 30) -> Json:
        """The first incident of the node with an id above `after`, once it is there."""
        found: list[Json] = []

        def there() -> bool:
            found[:] = self.cloud.incidents(node, after=after)
            return bool(found)

        self.cloud.wait(there, f"an incident of {node}", timeout_seconds)
        return found[0]

    def last_incident(self) -> int:
        """The id of the newest incident; 0 when there is none."""
        return self.cloud.last_incident()

    def step(self, node: str, what: str, *, after: int, timeout_seconds: float = 30) -> Json:
        """That step of the node's incident, once it is there."""
        found: list[Json] = []

        def there() -> bool:
            steps = [s for i in self.cloud.incidents(node, after=after) for s in i["steps"]]
            found[:] = [s for s in steps if s["what"] == what]
            return bool(found)

        self.cloud.wait(there, f"the step {what!r} of {node}", timeout_seconds)
        return found[0]

    def recovered(self, vms: dict[int, Placed], *, after: int = 0, timeout_seconds: float = 60) -> Json:
        """Wait until all of them run elsewhere, verified, in a newer generation, and the incident is closed."""
        (node,) = {p.node for p in vms.values()}

        def moved() -> bool:
            now = {v["id"]: v for v in self.cloud.vms()}
            return all(
                now[i]["verified"] and now[i]["node"] != node and now[i]["generation"] > p.generation
                for i, p in vms.items()
            )

        self.cloud.wait(moved, f"the VMs of {node} running elsewhere", timeout_seconds)
        closed: list[Json] = []

        def ended() -> bool:
            closed[:] = [i for i in self.cloud.incidents(node, after=after) if i["phase"] == "closed"]
            return bool(closed)

        self.cloud.wait(ended, f"the incident of {node} closed", 20)
        return closed[-1]

    def steady(self, timeout_seconds: float = 60) -> None:
        """Wait until every VM that is wanted running is verified up."""
        self.cloud.wait(self.cloud.all_verified, "all VMs verified", timeout_seconds)

    def health(self, node: str, wanted: str, timeout_seconds: float = 40) -> None:
        """Wait until the node reports a health with that word in it."""
        self.cloud.wait(
            lambda: wanted in self.cloud.nodes()[node]["health"], f"{node} reporting {wanted!r}", timeout_seconds
        )

    def logged(self, node: str, service: str, words: str, since: int, timeout_seconds: float = 30) -> None:
        """Wait until that is in the log of a daemon, behind its first `since` bytes."""
        log = self.lab.log(node, service)
        wait_until(
            lambda: words.encode() in log.read_bytes()[since:], timeout_seconds, f"{words!r} in {node}'s {service} log"
        )

    # -- the guests' own word

    def disk(self, vm_id: int) -> DiskReport:
        """What its guests wrote."""
        return inspect_volume(self.lab.volume(vm_id))

    def boots(self, vm_ids: Iterable[int]) -> dict[int, str]:
        """The boot of the newest run of each."""
        return {i: max(self.disk(i).runs, key=lambda run: (run.generation, run.last_seconds)).boot for i in vm_ids}

    def ticks_on(self, vm_ids: Iterable[int], timeout_seconds: float = 30) -> None:
        """Wait until each guest has written after now, in the generation and on the node that its row says."""
        for vm_id in vm_ids:
            before, row = self.disk(vm_id).latest_tick, self.vm(vm_id)

            def goes_on(vm_id: int = vm_id, before: int = before, row: Json = row) -> bool:
                runs = self.disk(vm_id).runs
                newest = max(runs, key=lambda run: (run.generation, run.last_seconds), default=None)
                if newest is None:
                    return False
                as_the_row = (newest.generation, newest.node) == (row["generation"], row["node"])
                if not as_the_row and vm_id not in self.migrated:
                    return False
                return newest.last_tick > before

            wait_until(goes_on, timeout_seconds, f"VM {vm_id} writing as generation {row['generation']}", 0.2)

    def ticks_beyond(self, vm_id: int, tick: int, timeout_seconds: float = 30) -> None:
        """Wait until the guest has counted on, without asking the API."""
        wait_until(lambda: self.disk(vm_id).latest_tick > tick, timeout_seconds, f"VM {vm_id} counting on", 0.2)

    def prove(self) -> None:
        """No two copies of any VM ever wrote at the same time, and every guest that should write does."""
        self.ticks_on(self.placed())
        for row in self.cloud.vms():
            report = self.disk(row["id"])
            assert report.double_writes == 0, (row["name"], report.overlaps, report.violations, report.corruptions)

    # -- afterwards

    def whole_again(self, vms_max: int = 8) -> None:
        """All nodes on, in and hosting, all daemons running, all VMs up. LabError: the product or the lab did not."""
        for name in self.lab.nodes:
            self._mend(name)
        for name in self.lab.nodes:
            self.lab.wait_for_database(name, len(self.lab.nodes), timeout_seconds=180)
        self.cloud.wait(
            lambda: all(n["state"] == "online" and n["health"] == "ok" for n in self.cloud.nodes().values()),
            "all nodes online and healthy", 60,
        )  # fmt: skip
        for name, row in self.cloud.nodes().items():
            if row["evacuating"]:
                self.cloud.admin("POST", f"/nodes/{name}/return", json={})
            elif row["maintenance"]:
                self.cloud.admin("POST", f"/nodes/{name}/maintenance", json={"maintenance": False})
        self._delete(list(self.placed())[vms_max:])
        self._delete([v["id"] for v in self.cloud.vms() if v["plan"] != PLAN])
        self.steady()

    def _mend(self, name: str) -> None:
        """Power on, cables in, nothing frozen, every daemon running."""
        self.lab.set_fence_failing(name, 0)
        self.lab.heal(name)
        before = self._status(name)
        if before["frozen"]:
            self.lab.thaw(name)
        if before["power"] == "off":
            self.lab.power_on(name)
        for service, state in self._status(name)["services"].items():
            if not state["running"]:
                self.lab.start_service(name, service)

    def _status(self, name: str) -> Json:
        return next(node for node in self.lab.status()["nodes"] if node["name"] == name)

    def _delete(self, vm_ids: list[int]) -> None:
        for vm_id in vm_ids:
            self.cloud.customer("DELETE", f"/servers/{vm_id}")
        self.cloud.wait(lambda: not {v["id"] for v in self.cloud.vms()} & set(vm_ids), "deleted VMs gone", 60)
