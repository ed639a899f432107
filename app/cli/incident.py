"""`holdfast incident`: what was lost, and how its VMs came back, step by step."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, ApiOption, Json, TokenOption, connect
from app.cli.output import JsonOption, say_json, say_table

app = typer.Typer(help="Incidents: list, show.", no_args_is_help=True)


@app.command("list")
def list_incidents(
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    node: Annotated[str, typer.Option("--node", help="Of one node.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List incidents, the newest first."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/incidents", "incidents", **({"node": node} if node else {}))
    if as_json:
        say_json(rows)
        return
    shown = (
        (r["id"], r["node"], r["phase"], r["opened_at"], r["closed_at"], _proof(r), r["outcome"]) for r in rows
    )  # fmt: skip
    say_table(("id", "node", "phase", "opened", "closed", "proof", "outcome"), shown)


@app.command()
def show(
    incident: Annotated[int, typer.Argument(min=1, help="Its id.", show_default=False)],
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show one incident: the time of each step, in UTC and in seconds after the detection."""
    with connect(api, token) as cloud:
        row = cloud.get(f"/admin/v1/incidents/{incident}")["incident"]
    if as_json:
        say_json(row)
        return
    ended = row["outcome"] or f"{row['phase']}, not closed yet"
    title = f"incident {row['id']}: {row['node']} lost; proof: {_proof(row) or 'none yet'}; {ended}"
    say_table(("time", "after", "step", "VM", "node", "detail"), _steps(row), title)


def _steps(row: Json) -> Iterator[tuple[object, ...]]:
    began = datetime.fromisoformat(row["opened_at"])
    for step in sorted(row["steps"], key=lambda s: datetime.fromisoformat(s["at"])):
        at = datetime.fromisoformat(step["at"])
        after = f"{(at - began).total_seconds():.3f} s"
        yield f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3], after, step["what"], step["vm_id"], step["node"], step["detail"]


def _proof(row: Json) -> str:
    return row["proof"]["method"] if row["proof"] else ""
