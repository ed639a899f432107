"""`holdfast lab demo` and `holdfast lab measure`: the main job from the power cut to the last VM, shown and timed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.cli.lab_view import onlooker
from app.domain.errors import InvalidInput
from app.lab.cloud import IMAGE, PLAN, Cloud
from app.lab.cluster import Lab
from app.lab.demo import DemoOrder, run_demo
from app.lab.figures import Figures

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures there.", dir_okay=False)]
FenceFails = Annotated[
    bool, typer.Option("--fence-fails", help="The fence agent fails for ever: only the watchdog proves.")
]
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
Vms = Annotated[int, typer.Option(min=1, max=12, help="VMs on the node that dies.")]


def demo(
    json_file: JsonFile = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the cluster up and say how to talk to it.")] = False,
    fence_fails: FenceFails = False,
    nodes: Annotated[int, typer.Option(min=3, max=5, help="Nodes.")] = 3,
    vms: Vms = 6,
    name: Annotated[str, typer.Option("--name", help="What the lab is called.")] = "demo",
) -> None:
    """Bring a cluster up, cut one node's power, watch its VMs come back elsewhere. Nothing of it stays."""
    _writable(json_file)
    console = Console()
    with _ended_cleanly(Lab(name)) as (lab, keeping):
        with onlooker(console) as view:
            figures, cloud = run_demo(lab, DemoOrder(nodes, vms, fence_fails), view)
        if json_file is not None:
            json_file.write_text(figures.as_json(), encoding="utf-8")
        _show(console, figures)
        if keep:
            keeping.append(True)
            _how_to_talk(lab, cloud)
    if figures.double_writes or figures.unplaced:
        raise typer.Exit(1)


def measure(
    runs: Annotated[int, typer.Option(min=1, max=50, help="How many times, each with a fresh cluster.")] = 5,
    fence_fails: FenceFails = False,
    vms: Vms = 6,
    json_file: JsonFile = None,
    name: Annotated[str, typer.Option("--name", help="What the labs are called.")] = "measure",
) -> None:
    """Time recoveries and print the medians, and where the time went."""
    _writable(json_file)
    console = Console()
    done: list[Figures] = []
    order = DemoOrder(vms=vms, fence_fails=fence_fails, look_every_seconds=1.0)
    for number in range(1, runs + 1):
        with _ended_cleanly(Lab(name)) as (lab, _), onlooker(console) as view:
            view.phase(f"run {number} of {runs}")
            done.append(run_demo(lab, order, view)[0])
    report = _medians(done)
    if json_file is not None:
        json_file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _show_medians(console, done, report)
    if any(one.double_writes for one in done):
        raise typer.Exit(1)


@contextmanager
def _ended_cleanly(lab: Lab) -> Iterator[tuple[Lab, list[bool]]]:
    """However it ends, by Ctrl-C too, the lab is taken down, unless something was put into the list."""
    keep: list[bool] = []
    if lab.paths.directory.exists():
        yield lab, keep  # somebody else's: `up` says so, and it is not ours to take down
        return
    before = {number: signal.signal(number, _interrupt) for number in _ENDINGS}
    try:
        yield lab, keep
    except KeyboardInterrupt:
        sys.stderr.write("holdfast: interrupted, taking the lab down\n")
        raise typer.Exit(130) from None
    finally:
        if not keep:
            for number in _ENDINGS:
                signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it
            lab.down()
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM and a closed terminal end it as Ctrl-C does."""
    raise KeyboardInterrupt


def _writable(file: Path | None) -> None:
    if file is not None and not (file.parent.is_dir() and os.access(file.parent, os.W_OK)):
        raise InvalidInput("json", f"{file.parent} is no directory that can be written to")


def _show(console: Console, figures: Figures) -> None:
    table = Table(title=f"incident: power cut of {figures.incident['node']}", title_justify="left")
    for column in ("after the cut", "step", "VM", "node", "detail"):
        table.add_column(column, overflow="fold")
    cut_at = datetime.fromisoformat(figures.cut_at)
    for step in sorted(figures.incident["steps"], key=lambda s: str(s["at"])):
        after = (datetime.fromisoformat(step["at"]) - cut_at).total_seconds()
        cells = (f"{after:.3f} s", step["what"], figures.vm_names.get(step["vm_id"], ""), step["node"], step["detail"])
        table.add_row(*(Text(str(cell or "")) for cell in cells))
    console.print(table)
    _show_budget(console, figures.budget, "the way of the last VM")
    console.print(
        f"first VM up after {figures.first_up_s:.1f} s, all {figures.vms} after {figures.all_up_s:.1f} s;"
        f" proof: {figures.fence_proof}; unplaced: {len(figures.unplaced)}; double writes: {figures.double_writes}"
    )


def _show_budget(console: Console, budget: dict[str, float], title: str) -> None:
    table = Table(title=title, title_justify="left")
    for piece in budget:
        table.add_column(piece, justify="right")
    table.add_row(*(f"{seconds:.2f} s" for seconds in budget.values()))
    if budget:
        console.print(table)


def _medians(done: list[Figures]) -> dict[str, Any]:
    keys = ("detected_s", "fenced_s", "planned_s", "first_up_s", "all_up_s")
    pieces = list(dict.fromkeys(piece for one in done for piece in one.budget))
    return {
        "runs": [one.as_dict() for one in done],
        "median": {key: round(statistics.median(getattr(one, key) for one in done), 3) for key in keys},
        "budget_median": {
            piece: round(statistics.median(one.budget[piece] for one in done if piece in one.budget), 3)
            for piece in pieces
        },
        "double_writes": sum(one.double_writes for one in done),
    }


def _show_medians(console: Console, done: list[Figures], report: dict[str, Any]) -> None:
    table = Table(title=f"{len(done)} power cuts, seconds after the cut", title_justify="left")
    for column in ("run", "detected", "fenced", "planned", "first VM up", "all up", "proof", "double writes", "load"):
        table.add_column(column, justify="right")
    keys = ("detected_s", "fenced_s", "planned_s", "first_up_s", "all_up_s")
    for number, one in enumerate(done, start=1):
        times = [f"{getattr(one, key):.2f}" for key in keys]
        table.add_row(str(number), *times, one.fence_proof, str(one.double_writes), f"{one.load_average:.1f}")
    median = [f"{report['median'][key]:.2f}" for key in keys]
    table.add_row("median", *median, "", str(report["double_writes"]), "", style="bold")
    console.print(table)
    _show_budget(console, report["budget_median"], "the way of the last VM, medians")


def _how_to_talk(lab: Lab, cloud: Cloud) -> None:
    program = sys.argv[0] if os.access(sys.argv[0], os.X_OK) else ""
    holdfast = shlex.quote(str(Path(program).absolute())) if program else f"{sys.executable} -m app.cli.main"
    lines = [
        f"export HOLDFAST_API={cloud.base_url}",
        f"export HOLDFAST_TOKEN={cloud.tokens.admin}    # an operator's",
        f"{holdfast} node list",
        f"{holdfast} vm list --all",
        f"{holdfast} incident list",
        f"{holdfast} incident show {cloud.incidents()[-1]['id']}",
        f"export HOLDFAST_TOKEN={cloud.tokens.project}    # a customer's",
        f"{holdfast} vm create web --plan {PLAN} --image {IMAGE} --wait",
        f'curl -s -H "Authorization: Bearer $HOLDFAST_TOKEN" {cloud.base_url}/v1/servers',
        f"{holdfast} lab status --name {lab.name}",
        f"{holdfast} lab power-on {lab.nodes[-1]} --name {lab.name}",
        f"{holdfast} lab kill {lab.nodes[1]} --name {lab.name}",
        f"{holdfast} lab down --name {lab.name}    # when you have seen enough",
    ]
    sys.stdout.write("\nThe cluster stays up. Talk to it:\n\n" + "".join(f"  {line}\n" for line in lines))
