"""The main job, shown: six VMs on one node, its power is cut, they run again on the others."""

import os
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from app.lab.budget import read_budget
from app.lab.cloud import Cloud
from app.lab.cluster import Lab, NodeSettings, Token
from app.lab.double_writes import inspect_volume
from app.lab.errors import LabError
from app.lab.figures import Figures, read_figures
from app.lab.opening import create_on, open_cloud

RECOVERY_SECONDS_MAX = 180.0
#: the token is 1000 ms on three nodes, too
TOKEN = Token(1000, per_node_milliseconds=0)


@dataclass(frozen=True)
class Scene:
    """The cluster as the API shows it now. `cut_at` is None before the power cut."""

    nodes: list[dict[str, Any]]
    vms: list[dict[str, Any]]
    incident: dict[str, Any] | None = None
    cut_at: datetime | None = None


class Onlooker(Protocol):
    """Who watches: a live view, or lines in a log."""

    def phase(self, what: str) -> None:
        """This begins now, and what came before it is done."""

    def scene(self, scene: Scene) -> None:
        """A look at the cluster."""


@dataclass(frozen=True)
class DemoOrder:
    """What is asked for. `fence_fails`: the fence agent fails for ever, so that only the watchdog proves.

    Times are read from the incident. So looking seldom costs no precision, and leaves the processors to the recovery.
    """

    nodes: int = 3
    vms: int = 6
    fence_fails: bool = False
    look_every_seconds: float = 0.4


def run_demo(lab: Lab, order: DemoOrder, onlooker: Onlooker) -> tuple[Figures, Cloud]:
    """Bring the lab up, fill the last node, cut its power, wait until all run again. The lab is left up."""
    lab.up([NodeSettings()] * order.nodes, token=TOKEN, progress=onlooker.phase)
    onlooker.phase("first tokens, plan and image")
    cloud = open_cloud(lab)
    # Guests that boot all at once on few processors all come up last: two for each is enough to keep them busy.
    cloud.admin("PATCH", "/settings", json={"starts_max": 2 * (os.cpu_count() or 1)})
    victim = lab.nodes[-1]
    onlooker.phase(f"{order.vms} VMs on {victim}")
    names = create_on(cloud, victim, [f"vm{i}" for i in range(1, order.vms + 1)])
    onlooker.scene(Scene(list(cloud.nodes().values()), cloud.vms()))
    if order.fence_fails:
        lab.set_fence_failing(victim, None)
    load = os.getloadavg()[0]
    onlooker.phase(f"power cut of {victim}")
    cut_at = datetime.now(UTC)
    lab.kill(victim)
    _watch(cloud, victim, names, cut_at, onlooker, order.look_every_seconds)
    onlooker.phase("reading the guests' disks")
    figures = read_figures(cloud.incidents(victim)[-1], names, cut_at, order.nodes)
    budget = read_budget(lab, figures, names)
    double = count_double_writes(lab, list(names))
    return replace(figures, double_writes=double, budget=budget, load_average=load), cloud


def _watch(
    cloud: Cloud, victim: str, names: dict[int, str], cut_at: datetime, onlooker: Onlooker, every_seconds: float
) -> None:
    until = time.monotonic() + RECOVERY_SECONDS_MAX
    while True:
        seen, incidents = cloud.vms(), cloud.incidents(victim)
        incident = incidents[-1] if incidents else None
        onlooker.scene(Scene(list(cloud.nodes().values()), seen, incident, cut_at))
        moved = [v for v in seen if v["id"] in names]
        if incident and len(moved) == len(names) and all(v["verified"] and v["node"] != victim for v in moved):
            return
        if time.monotonic() > until:
            raise LabError(f"not all VMs run again after {RECOVERY_SECONDS_MAX:g} s: {moved} {incident}")
        time.sleep(every_seconds)


def count_double_writes(lab: Lab, vm_ids: list[int]) -> int:
    """What the guests wrote to their disks says whether two copies ever ran at once."""
    return sum(inspect_volume(lab.volume(vm_id)).double_writes for vm_id in vm_ids)
