"""What one sees of a demonstration: a live picture in a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from app.lab.demo import Onlooker, Scene

#: steps of an incident -> the phase that they end, in their order
_MILESTONES = {"detected": "detection", "fenced": "fencing", "planned": "plan"}
_STATE_STYLES = {"online": "green", "lost": "red", "fenced": "magenta", "running": "green"}


@contextmanager
def onlooker(console: Console) -> Iterator[Onlooker]:
    """The one that fits this output."""
    if not console.is_terminal:
        yield PlainLines(console)
        return
    view = LiveView()
    with Live(get_renderable=view.render, console=console, refresh_per_second=5):
        yield view
        view.done()


def milestones(scene: Scene) -> list[tuple[str, float]]:
    """(what, seconds after the cut) of all that the incident tells so far."""
    if scene.incident is None or scene.cut_at is None:
        return []
    found = []
    steps, cut_at = scene.incident["steps"], scene.cut_at
    for what, name in _MILESTONES.items():
        times = [_after(step, cut_at) for step in steps if step["what"] == what]
        if times:
            found.append((name, min(times)))
    for what, name in (("started", "starts"), ("verified", "verified up")):
        times = [_after(step, cut_at) for step in steps if step["what"] == what]
        if times:
            found.append((f"{name}: {len(times)} of {len(scene.vms)}", max(times)))
    return found


def _after(step: dict[str, Any], cut_at: datetime) -> float:
    return (datetime.fromisoformat(step["at"]) - cut_at).total_seconds()


class PlainLines:
    """One line for each phase and for each change; for files, pipes and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._said: set[str] = set()

    def phase(self, what: str) -> None:
        self._say(what)

    def scene(self, scene: Scene) -> None:
        for what, seconds in milestones(scene):
            if what not in self._said:
                self._said.add(what)
                self._say(f"{what} ({seconds:.1f} s after the cut)")

    def _say(self, text: str) -> None:
        self._console.print(Text(f"{time.monotonic() - self._began:6.1f} s  {text}"), soft_wrap=True)


class LiveView:
    """Redrawn in place: the phases with their times, the nodes, the VMs and what the incident says."""

    def __init__(self) -> None:
        self._phases: list[tuple[str, float]] = []
        self._ended: float | None = None
        self._scene: Scene | None = None
        self._spinner = Spinner("dots")

    def phase(self, what: str) -> None:
        self._phases.append((what, time.monotonic()))

    def scene(self, scene: Scene) -> None:
        self._scene = scene

    def done(self) -> None:
        """Nothing goes on any more."""
        self._ended = time.monotonic()

    def render(self) -> RenderableType:
        """What it looks like now. Called from the thread that draws, too."""
        parts: list[RenderableType] = [self._phase_table()]
        scene = self._scene
        if scene is not None:
            parts += [_nodes_table(scene), _vms_table(scene)]
        return Group(*parts)

    def _phase_table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now, phases = self._ended or time.monotonic(), list(self._phases)
        for number, (what, began) in enumerate(phases):
            last = number == len(phases) - 1
            ended = now if last else phases[number + 1][1]
            going = last and self._ended is None
            mark: RenderableType = self._spinner if going else Text("✓", style="green")
            table.add_row(mark, Text(what, style="bold" if going else ""), Text(f"{ended - began:.1f} s"))
            if what.startswith("power cut") and self._scene is not None:
                _add_milestones(table, self._scene)
        return table


def _add_milestones(table: Table, scene: Scene) -> None:
    for what, seconds in milestones(scene):
        table.add_row("", Text(f"  {what}", style="cyan"), Text(f"{seconds:.1f} s after the cut"))
    if scene.cut_at is not None and len(milestones(scene)) < len(_MILESTONES) + 2:
        waited = (datetime.now(UTC) - scene.cut_at).total_seconds()
        table.add_row("", Text("  ...", style="dim"), Text(f"{waited:.1f} s", style="dim"))


def _nodes_table(scene: Scene) -> Table:
    table = Table(title="nodes", title_justify="left", title_style="bold")
    for column in ("node", "state", "health", "VMs"):
        table.add_column(column)
    for node in scene.nodes:
        style = _STATE_STYLES.get(node["state"], "")
        table.add_row(node["name"], Text(node["state"], style=style), node["health"], str(node["vms"]))
    return table


def _vms_table(scene: Scene) -> Table:
    table = Table(title="VMs", title_justify="left", title_style="bold")
    for column in ("VM", "node", "generation", "status", "guest"):
        table.add_column(column)
    for vm in scene.vms:
        style = _STATE_STYLES.get(vm["status"], "yellow")
        guest = Text("alive", style="green") if vm["verified"] else Text("-", style="dim")
        table.add_row(
            vm["name"], vm["node"] or "-", str(vm["generation"]), Text(vm["status"], style=style), guest
        )  # fmt: skip
    return table
