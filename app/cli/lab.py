"""`holdfast lab`: a whole cluster on this machine from real parts, and ways to break it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.cli.lab_demo import demo, measure
from app.lab import network
from app.lab.cluster import SERVICES, Lab, NodeSettings, Token, remove_all

app = typer.Typer(help="A whole cluster on this machine from real parts, and ways to break it.", no_args_is_help=True)
Name = Annotated[str, typer.Option("--name", help="Which lab, where several run.")]
Node = Annotated[str, typer.Argument(help="n1, n2, ...")]
Links = Annotated[list[str] | None, typer.Option("--link", help="eth0, ib0 or eth1; may be repeated. Default: all.")]
console = Console()


@app.command()
def up(
    name: Name = "lab",
    nodes: Annotated[int, typer.Option(min=1, max=9, help="Compute nodes.")] = 3,
    spares: Annotated[int, typer.Option(min=0, max=3, help="Nodes kept empty until a failure.")] = 0,
    witnesses: Annotated[int, typer.Option(min=0, max=1, help="Nodes that vote and host nothing.")] = 0,
    memory_mib: Annotated[int, typer.Option(help="What each node may promise to VMs, in MiB.")] = 8192,
    services: Annotated[str, typer.Option(help="Comma-separated.")] = ",".join(SERVICES),
    token_milliseconds: Annotated[int, typer.Option(help="Corosync's token timeout.")] = 1000,
    token_coefficient_milliseconds: Annotated[int, typer.Option(help="Added to it for each node above two.")] = 650,
    encrypted: Annotated[bool, typer.Option(help="Encrypt Corosync's traffic.")] = False,
    watchdog_seconds: Annotated[float, typer.Option(help="Timeout of each node's lab watchdog.")] = 8,
    heartbeat: Annotated[
        bool, typer.Option(help="A second heartbeat over the storage: isolated nodes keep VMs.")
    ] = False,
) -> None:
    """Bring a lab up."""
    lab = Lab(name)
    settings = [NodeSettings(memory_mib=memory_mib)] * nodes
    settings += [NodeSettings(role="spare", memory_mib=memory_mib)] * spares
    settings += [NodeSettings(role="witness")] * witnesses
    with console.status("starting") as line:
        lab.up(
            settings,
            tuple(services.split(",")),
            token=Token(token_milliseconds, token_coefficient_milliseconds),
            encrypted=encrypted,
            watchdog_seconds=watchdog_seconds,
            config={"pools": {"shared": {"heartbeat": heartbeat}}},
            progress=lambda step: line.update(f"lab {name}: {step}"),
        )
    status(name)


@app.command()
def status(
    name: Name = "lab",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show the nodes of a running lab and their daemons."""
    report = Lab(name).status()
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    table = Table(title=f"lab {report['name']}, API at {report['api']}")
    for column in ("node", "address", "role", "power", "cables", "services"):
        table.add_column(column)
    for node in report["nodes"]:
        table.add_row(
            node["name"],
            node["address"],
            node["role"],
            "frozen" if node["frozen"] else node["power"],
            _cables(node["cut"], node["silent"]),
            " ".join(service if one["running"] else f"({service})" for service, one in node["services"].items()),
        )
    console.print(table)


def _cables(cut: list[str], silent: list[str]) -> str:
    return " ".join([*(f"{link}:cut" for link in cut), *(f"{link}:silent" for link in silent)]) or "ok"


@app.command()
def kill(node: Node, name: Name = "lab") -> None:
    """Cut a node's power."""
    Lab(name).kill(node)


@app.command()
def power_on(node: Node, name: Name = "lab") -> None:
    """Start a node that is off, with all its daemons."""
    Lab(name).power_on(node)


@app.command()
def freeze(
    node: Node,
    name: Name = "lab",
    with_watchdog: Annotated[bool, typer.Option(help="Its watchdog, too: nothing will reset it.")] = False,
) -> None:
    """Stop a node in the middle of whatever it does."""
    Lab(name).freeze(node, with_watchdog)


@app.command()
def thaw(node: Node, name: Name = "lab") -> None:
    """Let a frozen node go on."""
    Lab(name).thaw(node)


@app.command()
def cut(
    node: Node,
    name: Name = "lab",
    link: Links = None,
    silent: Annotated[bool, typer.Option(help="Drop all packets but keep the carrier.")] = False,
) -> None:
    """Cut a node's cables."""
    Lab(name).cut(node, tuple(link or network.LINKS), silent)


@app.command()
def heal(node: Node, name: Name = "lab", link: Links = None) -> None:
    """Plug a node's cables in again."""
    Lab(name).heal(node, tuple(link or network.LINKS))


@app.command()
def down(
    name: Name = "lab",
    everything: Annotated[bool, typer.Option("--all", help="Every lab of this machine, and what labs cached.")] = False,
) -> None:
    """Take a lab down; nothing of it is left."""
    if everything:
        remove_all()
    else:
        Lab(name).down()


app.command()(demo)
app.command()(measure)
