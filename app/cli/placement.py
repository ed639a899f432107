"""`holdfast placement`: rules that contradict each other, and placement groups, for operators."""

from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, REFUSED, ApiOption, TokenOption, connect
from app.cli.output import JsonOption, say_json, say_table

app = typer.Typer(help="Placement: check, groups.", no_args_is_help=True)


@app.command()
def check(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Name the rules that contradict each other or the cluster. Exits with 1 if there are any."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/placement/problems", "problems")
    if as_json:
        say_json(rows)
    elif rows:
        say_table(("problem", "VMs", "what"), ((r["kind"], r["vms"], r["text"]) for r in rows))
    else:
        typer.echo("no rule contradicts another")
    if rows:
        raise typer.Exit(REFUSED)


@app.command()
def groups(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List the placement groups of all projects."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/placement/groups", "groups")
    if as_json:
        say_json(rows)
        return
    columns = ("id", "project_id", "name", "kind", "domain", "vms")
    say_table(columns, ([r[c] for c in columns] for r in rows))


@app.command("add-group")
def add_group(
    name: Annotated[str, typer.Argument(help="Unique in the project.", show_default=False)],
    project_id: Annotated[int, typer.Option("--project-id", help="Whose it is.", show_default=False)],
    kind: Annotated[str, typer.Option(help="spread, spread-soft or together.")] = "spread",
    domain: Annotated[str, typer.Option(help="node or rack.")] = "node",
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a placement group."""
    body = {"project_id": project_id, "name": name, "kind": kind, "domain": domain}
    with connect(api, token) as cloud:
        row = cloud.post("/admin/v1/placement/groups", body)["group"]
    if as_json:
        say_json(row)
    else:
        typer.echo(f"group {row['id']} {row['name']}: {row['kind']} by {row['domain']}")


@app.command("remove-group")
def remove_group(
    group: Annotated[int, typer.Argument(help="Its id.", show_default=False)],
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
) -> None:
    """Remove a placement group; its VMs run on where they are."""
    with connect(api, token) as cloud:
        cloud.delete(f"/admin/v1/placement/groups/{group}")
    typer.echo(f"group {group} is removed")
