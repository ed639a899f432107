"""`holdfast notify`: who is told of what happens in the cluster, by mail or webhook."""

import time
from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, POLL_SECONDS, REFUSED, Api, ApiOption, Json, TokenOption, connect, fail
from app.cli.output import JsonOption, say_json, say_table

app = typer.Typer(help="Who is told: list, add, remove, test.", no_args_is_help=True)
#: what wakes an operator; `--all` and `--event` say otherwise
DEFAULT_EVENTS = (
    "node.failed", "incident.closed", "vm.unplaced", "fence_device.failed", "storm_guard.held",
    "cluster.still_disarmed",
)  # fmt: skip
_Id = Annotated[
    int, typer.Argument(metavar="ID", min=1, help="As `holdfast notify list` shows it.", show_default=False)
]


@app.command("list")
def list_endpoints(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List who is told, customers' webhooks too."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/webhooks", "webhooks")
    if as_json:
        say_json(rows)
        return
    shown = ((r["id"], r["url"], r["project_id"], ", ".join(r["events"]) or "all", r["disabled"]) for r in rows)
    say_table(("id", "to", "project", "events", "disabled"), shown)


@app.command()
def add(
    target: Annotated[str, typer.Argument(help="mailto:ADDRESS, or a webhook's URL.", show_default=False)],
    events: Annotated[list[str] | None, typer.Option("--event", help="Of this kind; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of everything, VMs' starts and stops too.")] = False,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Tell somebody what an operator must know: nodes that fail, recoveries, VMs without a node, fence devices."""
    wanted = [] if everything else list(events or DEFAULT_EVENTS)
    with connect(api, token) as cloud:
        answer = cloud.post("/admin/v1/webhooks", {"url": target, "events": wanted})
    if as_json:
        say_json(answer)
        return
    typer.echo(f"{answer['webhook']['id']}: {target} is told of {', '.join(wanted) or 'everything'}")
    if not target.startswith("mailto:"):
        typer.echo(f"the secret that signs, shown this once: {answer['secret']}")


@app.command()
def remove(endpoint: _Id, api: ApiOption = DEFAULT_API, token: TokenOption = "") -> None:
    """Tell somebody nothing more; what was not delivered yet never will be."""
    with connect(api, token) as cloud:
        cloud.delete(f"/admin/v1/webhooks/{endpoint}")


@app.command("test")
def send_test(
    endpoint: Annotated[int | None, typer.Argument(metavar="ID", min=1, help="Only this one.")] = None,
    timeout: Annotated[float, typer.Option(min=1, max=600, help="Seconds to wait for each.")] = 60,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
) -> None:
    """Send one test event to each operator's endpoint, by the way that all events take. Exit 1 when one fails."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/webhooks", "webhooks")
        chosen = [r for r in rows if (r["id"] == endpoint if endpoint else _for_operators(r))]
        if not chosen:
            fail("there is nobody to tell: `holdfast notify add mailto:ADDRESS`", REFUSED)
        sent = [(r, cloud.post(f"/admin/v1/webhooks/{r['id']}/test")["message"]["id"]) for r in chosen]
        failed = [row["url"] for row, message_id in sent if not _delivered(cloud, row, message_id, timeout)]
    if failed:
        fail(f"not delivered to {', '.join(failed)}", REFUSED)


def _for_operators(row: Json) -> bool:
    return row["project_id"] is None and not row["disabled"]


def _delivered(cloud: Api, row: Json, message_id: int, timeout_seconds: float) -> bool:
    until = time.monotonic() + timeout_seconds
    while True:
        found = cloud.get("/admin/v1/outbox", webhook_id=row["id"], kind="notify.test")["outbox"]
        message = next((m for m in found if m["id"] == message_id), None)
        if message and message["delivered_at"]:
            typer.echo(f"{row['id']}: {row['url']}: delivered")
            return True
        if message and message["attempts"]:
            typer.echo(f"{row['id']}: {row['url']}: failed: {message['last_error']}")
            return False
        if time.monotonic() > until:
            typer.echo(f"{row['id']}: {row['url']}: nobody tried it for {timeout_seconds:g} s: is there a coordinator?")
            return False
        time.sleep(POLL_SECONDS)
