"""`holdfast event`: what an operator wants to read later: paths switched, nodes unhealthy, VMs placed."""

from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, ApiOption, TokenOption, connect
from app.cli.output import JsonOption, say_json, say_table

app = typer.Typer(help="Events: list.", no_args_is_help=True)


@app.command("list")
def list_events(
    kind: Annotated[str, typer.Option(help="Of one kind, as path.switched.")] = "",
    node: Annotated[str, typer.Option(help="Of one node.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many, the newest.")] = 25,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """List the newest events, the oldest of them first."""
    wanted = {k: v for k, v in (("kind", kind), ("node", node)) if v}
    with connect(api, token) as cloud:
        rows = cloud.get("/admin/v1/events", per_page=limit, **wanted)["events"][::-1]
    if as_json:
        say_json(rows)
    else:
        shown = ((r["at"], r["kind"], r["node"], r["vm_id"], r["text"]) for r in rows)
        say_table(("time", "kind", "node", "VM", "text"), shown)
