"""The API on a loopback port, over a real store, with nodes, a plan, an image, tokens, and agents that do the work.

`LiveApi` is what the tests of the CLI and of the customers' tools talk to.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType

import uvicorn

from app.adapters.system.clock import SystemClock
from app.api import ApiDeps, create_api
from app.domain.actions import VmSeen
from app.domain.node import NodeRole
from app.domain.records import Image, Plan, Project
from app.domain.vm import Desired, PowerSeen, Vm
from app.ports.store import Store, Transaction
from app.services.issue_token import issue_token
from app.services.remove_vm import remove_vm
from app.services.report_observed import NodeFacts, report_observed

PLAN = "small"
BIG_PLAN = "giant"
IMAGE = "debian-12"
NODES = ("n1", "n2", "n3")


@dataclass(frozen=True)
class Tokens:
    """Texts of tokens: an operator's, two projects' and one that only reads."""

    admin: str
    project: str
    other: str
    reader: str


def facts(node: str, *, memory_mib: int = 4096, cores: int = 8) -> NodeFacts:
    """What the agent of that node says about it."""
    number = int(node[1:])
    return NodeFacts(number, node, f"10.0.0.{number}", NodeRole.COMPUTE, memory_mib, cores, "", 10.0, f"boot-{node}")


def furnish(store: Store, *, nodes: tuple[str, ...] = NODES) -> Tokens:
    """Nodes of 4096 MiB and 8 cores, a plan of 1024 MiB, one that fits nowhere, an image, two projects."""
    now = datetime.now(UTC)

    def fill(tx: Transaction) -> Tokens:
        for node in nodes:
            report_observed(tx, facts(node), (), "ok", now)
        tx.plans.add(Plan(0, PLAN, 1, 1024, 10))
        tx.plans.add(Plan(0, BIG_PLAN, 4, 1024 * 1024, 10))
        tx.images.add(Image(0, IMAGE, "shared", "debian-12.qcow2", 2, now, os_flavor="debian", os_version="12"))
        mine, other = tx.projects.add(Project(0, "shop")), tx.projects.add(Project(0, "other"))
        wanted = (("admin", None), ("write", mine.id), ("write", other.id), ("read", mine.id))
        return Tokens(*(issue_token(tx, scope, scope, project, None, now)[1] for scope, project in wanted))

    return store.run(fill)


def look_around(store: Store, *, now: datetime | None = None) -> None:
    """One round of every node's agent: what is wanted is so at once, and is reported by the real services."""

    def work(tx: Transaction) -> None:
        when = now or datetime.now(UTC)
        for node in tx.nodes.where():
            mine = tx.vms.where(node=node.name)
            report_observed(tx, facts(node.name), [_seen(vm) for vm in mine if not _known(vm)], "ok", when)
            for vm in mine:
                if vm.desired is Desired.DELETED:
                    remove_vm(tx, vm.id, node.name, vm.generation, when)

    store.run(work)


def _seen(vm: Vm) -> VmSeen:
    power = PowerSeen.RUNNING if vm.wants_to_run else PowerSeen.OFF
    return VmSeen(vm.id, vm.generation, power, verified=vm.wants_to_run, resets_done=vm.resets_wanted)


def _known(vm: Vm) -> bool:
    wanted = PowerSeen.RUNNING if vm.wants_to_run else PowerSeen.OFF
    return vm.seen_current and vm.observed.power is wanted and vm.observed.resets_done == vm.resets_wanted


class LiveApi:
    """A context: the API at `url`, agents that look when they are signalled, `store` to look behind it."""

    def __init__(self, store: Store, *, agents: bool = True) -> None:
        self.store = store
        self.tokens = furnish(store)
        self.signals: list[int | None] = []
        self._agents = agents
        self._wake, self._stop = threading.Event(), threading.Event()
        api = create_api(ApiDeps(store, SystemClock(), self._signal))
        config = uvicorn.Config(api, host="127.0.0.1", port=0, log_config=None, lifespan="off", access_log=False)
        self._server = uvicorn.Server(config)
        self._threads = [threading.Thread(target=self._server.run), threading.Thread(target=self._be_agents)]

    def __enter__(self) -> "LiveApi":
        for thread in self._threads:
            thread.start()
        wait_for(lambda: self._server.started, "the API to listen")
        self.port = int(self._server.servers[0].sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.should_exit = True
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _signal(self, vm_id: int | None) -> None:
        self.signals.append(vm_id)
        self._wake.set()

    def _be_agents(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(0.2)
            self._wake.clear()
            if self._agents and not self._stop.is_set():
                look_around(self.store)


def wait_for(ready: Callable[[], bool], what: str, timeout_seconds: float = 10) -> None:
    """Poll until `ready`."""
    until = time.monotonic() + timeout_seconds
    while not ready():
        assert time.monotonic() < until, f"waited {timeout_seconds:g} s for {what}"
        time.sleep(0.01)
