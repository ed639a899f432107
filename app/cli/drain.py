"""What a drain looks like in a terminal."""

import time
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.cli.http import Api, Json, pause_since, segment
from app.cli.output import say_table


def wait_for_drain(cloud: Api, name: str, timeout_seconds: float, *, show: bool) -> Json:
    """Until the node is empty, until only VMs are left that an operator must do something about, or the time is up."""
    deadline = time.monotonic() + timeout_seconds
    path = f"/admin/v1/nodes/{segment(name)}/drain"
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}%"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bars:
        tasks: dict[int, TaskID] = {}
        while True:
            asked_at = time.monotonic()
            progress: Json = cloud.get(path)["drain"]
            vms = cloud.pages(f"{path}/vms", "vms") if show else []
            _draw(bars, tasks, vms)
            moving = progress["moving"] or progress["waiting"]
            if progress["done"] or not progress["draining"] or not moving or time.monotonic() >= deadline:
                return progress
            time.sleep(pause_since(asked_at))


def _draw(bars: Progress, tasks: dict[int, TaskID], vms: Sequence[Json]) -> None:
    """One bar for each VM that is on its way; one that is gone has arrived."""
    moving = {vm["vm_id"]: vm for vm in vms if vm["state"] == "moving"}
    for vm_id, vm in moving.items():
        if vm_id not in tasks:
            tasks[vm_id] = bars.add_task(f"{vm['name']} -> {vm['to']}", total=100)
        bars.update(tasks[vm_id], completed=vm["progress"])
    present = {vm["vm_id"] for vm in vms}
    for vm_id in [v for v in tasks if v not in present]:
        bars.update(tasks.pop(vm_id), completed=100)


def say_drain(progress: Json, vms: Sequence[Json]) -> None:
    """Where it stands, and every VM that is still there."""
    name = progress["node"]
    if progress["done"]:
        typer.echo(f"{name} is empty: it can be switched off")
        return
    typer.echo(
        f"{name}: {progress['moving']} VMs are moving, {progress['waiting']} wait, {progress['stuck']} are stuck"
    )
    rows = ((v["vm_id"], v["name"], v["state"], v["to"], f"{v['progress']} %", v["reason"]) for v in vms)
    say_table(("id", "VM", "state", "to", "progress", "why it is still there"), rows)
