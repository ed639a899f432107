"""`holdfast cluster rolling-plan | rolling-reboot | rolling-status | rolling-stop`: all nodes, one after the other."""

import time
from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, REFUSED, Api, ApiOption, Json, TokenOption, connect
from app.cli.output import JsonOption, say_facts, say_json, say_table

_PATH = "/admin/v1/rolling"
_LOOK_SECONDS = 1.0
Nodes = Annotated[list[str] | None, typer.Argument(help="Only these nodes; all without any.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="The guarantee may be broken meanwhile; never quorum or room.")]


def rolling_plan(
    nodes: Nodes = None, force: Force = False, api: ApiOption = DEFAULT_API, token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Show in which order the nodes can be rebooted, and which cannot and why. Exit code 1 when one cannot."""
    with connect(api, token) as cloud:
        rows = cloud.pages(f"{_PATH}/plan", "nodes", node=nodes or [], force=force)
    if as_json:
        say_json(rows)
    else:
        told = ((r["step"] or "-", r["node"], r["vms_moved"], r["refused"] or r["breaks"]) for r in rows)
        say_table(("step", "node", "VMs that move", "what is in the way"), told)
    if any(r["refused"] for r in rows):
        raise typer.Exit(REFUSED)


def rolling_reboot(
    nodes: Nodes = None,
    force: Force = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it is done or stopped. Without it: returns at once.")
    ] = False,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Reboot nodes one after the other: drain, reboot, wait until it is well, take VMs again, next."""
    with connect(api, token) as cloud:
        run: Json = cloud.post(_PATH, {"nodes": nodes or [], "force": force})["rolling"]
        if wait:
            with cloud.patient("the reboots go on: `holdfast cluster rolling-status` shows how far they are"):
                run = _wait(cloud, run, show=not as_json)
    _say(run, as_json=as_json)
    if run["state"] == "stopped":
        raise typer.Exit(REFUSED)


def rolling_status(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show how far the newest rolling reboot is, and what it waits for."""
    with connect(api, token) as cloud:
        _say(cloud.get(_PATH)["rolling"], as_json=as_json)


def rolling_stop(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Reboot no further node. A drain is taken back; a node that may be rebooting by now is waited for."""
    with connect(api, token) as cloud:
        _say(cloud.post(f"{_PATH}/stop")["rolling"], as_json=as_json)


def _wait(cloud: Api, run: Json, *, show: bool) -> Json:
    """A line for each thing that is said."""
    told = ""
    while True:
        if show and run["said"] != told:
            told = run["said"]
            typer.echo(told, err=True)
        if not run["active"]:
            return run
        time.sleep(_LOOK_SECONDS)
        run = cloud.get(_PATH)["rolling"]


def _say(run: Json, *, as_json: bool) -> None:
    if as_json:
        say_json(run)
    else:
        rest = {"rebooted": ", ".join(run["rebooted"]), "pending": ", ".join(run["pending"])}
        say_facts({**run, **rest}, "rolling reboot")
