"""`holdfast cluster upgrade VERSION`: all nodes, one after the other, and the schema in the end."""

import time
from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, REFUSED, Api, ApiOption, Json, TokenOption, connect
from app.cli.output import JsonOption, say_json, say_table

_PATH = "/admin/v1/upgrade"
_LOOK_SECONDS = 1.0
#: the change of a large table takes its time
_FINISH_SECONDS = 900.0
_INTERRUPTED = 130


def upgrade(
    version: Annotated[str, typer.Argument(help="What every node is to run, as in 1.2.0.", show_default=False)],
    nodes: Annotated[
        list[str] | None, typer.Option("--node", help="Only this node; may be repeated.", show_default=False)
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only show the order, and which nodes cannot go.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="The guarantee may be broken meanwhile; never quorum or room.")
    ] = False,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Upgrade nodes one after the other: drain, upgrade, wait until it is well, take VMs again, next; then the schema.

    The cluster does it, and this command watches. Interrupted and said again, it watches on, or does what is left.
    """
    with connect(api, token) as cloud:
        if plan:
            _show_plan(cloud.pages(f"{_PATH}/plan", "nodes", version=version, node=nodes or [], force=force), as_json)
            return
        run: Json = cloud.post(_PATH, {"version": version, "nodes": nodes or [], "force": force})["upgrade"]
        try:
            with cloud.patient("the upgrade goes on: say the same again to watch"):
                run = _watch(cloud, run, show=not as_json)
        except KeyboardInterrupt:
            typer.echo("the upgrade goes on; say the same again to watch, `cluster rolling-stop` to end it", err=True)
            raise typer.Exit(_INTERRUPTED) from None
        finished = _finish(cloud, version) if run["state"] == "done" else {"behind": [], "contracted": []}
    _say({**run, **finished}, as_json=as_json)
    if run["state"] != "done":
        raise typer.Exit(REFUSED)


def _show_plan(rows: list[Json], as_json: bool) -> None:
    if as_json:
        say_json(rows)
    else:
        told = ((r["step"] or "-", r["node"], r["vms_moved"], r["refused"] or r["breaks"]) for r in rows)
        say_table(("step", "node", "VMs that move", "what is in the way"), told)
    if any(r["refused"] for r in rows):
        raise typer.Exit(REFUSED)


def _watch(cloud: Api, run: Json, *, show: bool) -> Json:
    """A line for each thing that is said, and for each that is waited for. Its own API restarts on the way."""
    told = ("", "")
    while True:
        said = (run["said"], run["waits"])
        for text, known, indent in zip(said, told, ("", "  "), strict=True):
            if show and text and text != known:
                typer.echo(f"{indent}{text}", err=True)
        told = said
        if not run["active"]:
            return run
        time.sleep(_LOOK_SECONDS)
        run = cloud.get(_PATH)["upgrade"]


def _finish(cloud: Api, version: str) -> Json:
    """The schema's second phase, when no node is left that runs anything else."""
    behind = [r["name"] for r in cloud.pages("/admin/v1/nodes", "nodes") if r["version"] != version]
    if behind:
        return {"behind": behind, "contracted": []}
    done = cloud.post(f"{_PATH}/finish", timeout_seconds=_FINISH_SECONDS)["upgrade"]
    return {"behind": [], "contracted": done["contracted"]}


def _say(run: Json, *, as_json: bool) -> None:
    if as_json:
        say_json(run)
        return
    typer.echo(f"{run['state']}: {run['said']}")
    if run["behind"]:
        typer.echo(f"still of another version: {', '.join(run['behind'])}")
    elif run["state"] == "done":
        typer.echo("every node runs it" + (f"; schema: {', '.join(run['contracted'])}" if run["contracted"] else ""))
