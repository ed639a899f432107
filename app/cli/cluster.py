"""`holdfast cluster`: how the whole stands and what is set for it, for operators."""

import json
from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, USAGE, ApiOption, Json, TokenOption, connect, fail
from app.cli.lazy import lazily
from app.cli.output import JsonOption, say_facts, say_json

app = typer.Typer(
    help="The cluster as a whole: show, settings, disarm, arm, lift-storm-guard.",
    cls=lazily(
        {
            "init": "app.cli.cluster_nodes:init",
            "invite": "app.cli.cluster_nodes:invite",
            "join": "app.cli.cluster_nodes:join",
            "leave": "app.cli.cluster_nodes:leave",
            "forget": "app.cli.cluster_nodes:forget",
            "status": "app.cli.cluster_nodes:status",
            "doctor": "app.cli.cluster_doctor:doctor",
            "backup": "app.cli.cluster_backup:backup",
            "restore": "app.cli.cluster_backup:restore",
            "renew-certificates": "app.cli.cluster_nodes:renew_certificates",
            "upgrade": "app.cli.cluster_upgrade:upgrade",
            "rolling-plan": "app.cli.rolling:rolling_plan",
            "rolling-reboot": "app.cli.rolling:rolling_reboot",
            "rolling-status": "app.cli.rolling:rolling_status",
            "rolling-stop": "app.cli.rolling:rolling_stop",
        }
    ),
    no_args_is_help=True,
)
Changes = Annotated[list[str] | None, typer.Argument(help="NAME=VALUE, as in guarantee=1; without any they are shown.")]


@app.command()
def settings(
    changes: Changes = None, api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False
) -> None:
    """Show what is set for the cluster, or change it: `holdfast cluster settings guarantee=1 strategy=best-fit`."""
    wanted = dict(_change(one) for one in changes or ())
    with connect(api, token) as cloud:
        answer = cloud.patch("/admin/v1/settings", wanted) if wanted else cloud.get("/admin/v1/settings")
    row = answer["settings"]
    if as_json:
        say_json(row)
    else:
        say_facts({name: value for name, value in row.items() if name != "id"}, "cluster")


@app.command()
def show(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show whether automation is armed, who leads, and how the nodes are."""
    with connect(api, token) as cloud:
        _say(cloud.get("/admin/v1/cluster"), as_json=as_json)


@app.command()
def disarm(
    reason: Annotated[str, typer.Option("--reason", help="Why: everybody sees it.", show_default=False)],
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Freeze all automation: nothing is fenced, planned, moved or started again by itself until `cluster arm`.

    A node that loses quorum still pauses and destroys its VMs: that keeps them from running twice.
    """
    with connect(api, token) as cloud:
        _say(cloud.post("/admin/v1/cluster/disarm", {"reason": reason}), as_json=as_json)


@app.command()
def arm(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Let automation go on. What became necessary meanwhile is done now."""
    with connect(api, token) as cloud:
        _say(cloud.post("/admin/v1/cluster/arm"), as_json=as_json)


@app.command("lift-storm-guard")
def lift_storm_guard(
    minutes: Annotated[float, typer.Option(min=0, max=1440, help="For how long; 0 puts it back.")] = 60,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let fences begin although more nodes are lost than the storm guard allows. First make sure that they are dead."""
    with connect(api, token) as cloud:
        _say(cloud.post("/admin/v1/cluster/storm-guard", {"lifted_seconds": minutes * 60}), as_json=as_json)


def _say(answer: Json, *, as_json: bool) -> None:
    row = answer["cluster"]
    if as_json:
        say_json(row)
    else:
        say_facts(row, "cluster")


def _change(text: str) -> tuple[str, object]:
    """Numbers, true and false as such; all else is a text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        fail(f"{text!r}: write NAME=VALUE, as in guarantee=1", USAGE)
    try:
        read = json.loads(value)
    except ValueError:
        return name, value
    return name, read if isinstance(read, bool | int | float) else value
