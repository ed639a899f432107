"""`holdfast node`: the servers of the cluster, for operators."""

from typing import Annotated

import typer

from app.cli.daemons import shutdown_hook
from app.cli.drain import say_drain, wait_for_drain
from app.cli.http import DEFAULT_API, REFUSED, ApiOption, Json, TokenOption, connect, fail, segment
from app.cli.output import JsonOption, say_facts, say_json, say_table

app = typer.Typer(
    help="Nodes: list, show, cordon, uncordon, drain, return, paths, fence-check, confirm-dead, release.",
    no_args_is_help=True,
)
app.command("shutdown-hook")(shutdown_hook)
Name = Annotated[str, typer.Argument(help="The node's name.", show_default=False)]


@app.command("list")
def list_nodes(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List nodes and what they carry."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/nodes", "nodes")
    if as_json:
        say_json(rows)
        return
    columns = (
        "node",
        "address",
        "role",
        "state",
        "maintenance",
        "quarantined until",
        "health",
        "version",
        "VMs",
        "memory used",
        "memory free",
    )
    shown = (
        (
            r["name"], r["address"], r["role"], _state(r), r["maintenance"], r["quarantined_until"], r["health"],
            r["version"], r["vms"], f"{r['memory_used_mib']} MiB", f"{r['memory_free_mib']} MiB",
        )
        for r in rows
    )  # fmt: skip
    say_table(columns, shown)


def _state(row: Json) -> str:
    """`lost (isolated)`: with what the heartbeat over storage says of it."""
    return f"{row['state']} ({row['condition']})" if row["condition"] else str(row["state"])


@app.command()
def show(name: Name, api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show one node with all its facts."""
    with connect(api, token) as cloud:
        row = cloud.get(f"/admin/v1/nodes/{segment(name)}")["node"]
    if as_json:
        say_json(row)
    else:
        say_facts(row, "node")


@app.command()
def cordon(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Also if it breaks the cluster's guarantee.")] = False,
    api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Keep new VMs away from a node. Those that it has stay."""
    _maintain(name, api, token, {"maintenance": True, "force": force}, as_json=as_json)


@app.command()
def uncordon(name: Name, api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Let a node take VMs again."""
    _maintain(name, api, token, {"maintenance": False}, as_json=as_json)


@app.command()
def drain(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="Also if it breaks the cluster's guarantee.")] = False,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    wait: Annotated[bool, typer.Option("--wait", help="Until it is empty; shows how far it is.")] = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="How long to wait, in seconds.")] = 3600,
    as_json: JsonOption = False,
) -> None:
    """Move a node's VMs away while they run, and keep others out, for a maintenance.

    Exit code 1 with --wait when VMs are left that cannot move: each is listed with the reason.
    """
    with connect(api, token) as cloud:
        progress = cloud.post(f"/admin/v1/nodes/{segment(name)}/drain", {"force": force})["drain"]
        goes_on = f"the drain goes on: say the same again to watch, `holdfast node return {name}` to end it"
        with cloud.patient(goes_on, at_most_seconds=timeout if wait else 0):
            if wait:
                progress = wait_for_drain(cloud, name, timeout, show=not as_json)
            left = cloud.pages(f"/admin/v1/nodes/{segment(name)}/drain/vms", "vms")
    if as_json:
        say_json({**progress, "vms": left})
    else:
        say_drain(progress, left)
    if wait and not progress["done"]:
        raise typer.Exit(REFUSED)


@app.command("return")
def end_maintenance(
    name: Name, api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False
) -> None:
    """End a node's maintenance: it takes VMs again."""
    with connect(api, token) as cloud:
        progress = cloud.post(f"/admin/v1/nodes/{segment(name)}/return")["drain"]
    if as_json:
        say_json(progress)
    else:
        typer.echo(f"{name} takes VMs again")


@app.command()
def tag(
    name: Name,
    tags: Annotated[list[str] | None, typer.Argument(help="All tags it shall have; none takes them away.")] = None,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say what a node is called: VMs may need or avoid tags."""
    with connect(api, token) as cloud:
        row = cloud.put(f"/admin/v1/nodes/{segment(name)}/tags", {"tags": tags or []})["node"]
    if as_json:
        say_json(row)
    else:
        typer.echo(f"{row['name']} has the tags {', '.join(row['tags']) or '(none)'}")


@app.command()
def paths(name: Name, api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show a node's storage paths as it last saw them."""
    with connect(api, token) as cloud:
        rows = cloud.get(f"/admin/v1/nodes/{segment(name)}/paths")["paths"]
    if as_json:
        say_json(rows)
        return
    columns = ("target", "path", "up", "active", "latency", "since", "reason")
    shown = ((r["target"], r["name"], r["up"], r["active"], _latency(r), r["changed"], r["reason"]) for r in rows)
    say_table(columns, shown)


@app.command("fence-check")
def fence_check(
    name: Annotated[str, typer.Argument(help="Of this node only.")] = "",
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show how the fence devices answered when the other nodes last read them. Exit 1 when one does not work."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/fence-devices", "fence_devices", **({"node": name} if name else {}))
    if as_json:
        say_json(rows)
    else:
        columns = ("node", "method", "read from", "works", "since", "read at", "said")
        say_table(columns, ([r[k] for k in _CHECK_FIELDS] for r in rows))
    if not all(r["works"] for r in rows):
        raise typer.Exit(REFUSED)


_CHECK_FIELDS = ("node", "method", "checked_from", "works", "since", "checked_at", "said")


@app.command("confirm-dead")
def confirm_dead(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="How you know; kept with the incident.", show_default=False)],
    sure: Annotated[
        bool, typer.Option("--yes-it-is-dead", help="Do not ask for the node's name to be typed again.")
    ] = False,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say that a lost node is dead, when no fence device and no watchdog can prove it.

    Its VMs are started elsewhere on your word alone. If it still runs, they run twice and destroy their data.
    """
    if not sure:
        typer.echo(
            f"The VMs of {name} will be started on other nodes on your word alone.\n"
            f"If {name} still runs, or comes back while it is cut off, they RUN TWICE and DESTROY THEIR DATA.\n"
            "Go there, and see that it has no power.",
            err=True,
        )
        if typer.prompt(f"Type the name of the node that is dead ({name})", err=True) != name:
            fail("that is another name: nothing was done", REFUSED)
    with connect(api, token) as cloud:
        row = cloud.post(f"/admin/v1/nodes/{segment(name)}/confirm-dead", {"reason": reason})["node"]
    if as_json:
        say_json(row)
    else:
        typer.echo(f"{row['name']} counts as dead: its VMs are started elsewhere (holdfast incident list)")


@app.command()
def release(name: Name, api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Let a quarantined node host again, and forget its losses."""
    with connect(api, token) as cloud:
        row = cloud.post(f"/admin/v1/nodes/{segment(name)}/release")["node"]
    if as_json:
        say_json(row)
    else:
        typer.echo(f"{row['name']} is not quarantined")


def _latency(row: Json) -> str:
    return "" if row["latency_ms"] is None else f"{row['latency_ms']:.2f} ms"


def _maintain(name: str, api: str, token: str, body: Json, *, as_json: bool) -> None:
    with connect(api, token) as cloud:
        row = cloud.post(f"/admin/v1/nodes/{segment(name)}/maintenance", body)["node"]
    if as_json:
        say_json(row)
    else:
        typer.echo(f"{row['name']} {'takes no new VMs' if row['maintenance'] else 'takes VMs again'}")
