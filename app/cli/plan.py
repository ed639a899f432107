"""`holdfast plan`: what customers can order, for operators."""

from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, ApiOption, Json, TokenOption, connect
from app.cli.output import JsonOption, say_json, say_table

app = typer.Typer(help="Plans: list, add.", no_args_is_help=True)


@app.command("list")
def list_plans(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List plans."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/plans", "plans")
    if as_json:
        say_json(rows)
    else:
        columns = ("id", "name", "cores", "memory_mib", "disk_gib", "description")
        say_table(columns, ([row[c] for c in columns] for row in rows))


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="How customers name it.", show_default=False)],
    cores: Annotated[int, typer.Option(min=1, help="Virtual cores.", show_default=False)],
    memory_mib: Annotated[int, typer.Option(min=16, help="Memory in MiB.", show_default=False)],
    disk_gib: Annotated[int, typer.Option(min=1, help="Disk in GiB.", show_default=False)],
    description: Annotated[str, typer.Option(help="What customers read of it.")] = "",
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Offer a plan."""
    body: Json = {
        "name": name, "cores": cores, "memory_mib": memory_mib, "disk_gib": disk_gib, "description": description,
    }  # fmt: skip
    with connect(api, token) as cloud:
        row = cloud.post("/admin/v1/plans", body)["plan"]
    if as_json:
        say_json(row)
    else:
        typer.echo(f"plan {row['id']} {row['name']}")
