"""`holdfast image`: what VMs are started from, for operators."""

from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, ApiOption, Json, TokenOption, connect
from app.cli.output import JsonOption, say_json, say_table

app = typer.Typer(help="Images: list, add.", no_args_is_help=True)


@app.command("list")
def list_images(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List images and where they lie."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/images", "images")
    if as_json:
        say_json(rows)
    else:
        columns = ("id", "name", "pool", "path", "disk_gib", "memory_min_mib", "created")
        say_table(columns, ([row[c] for c in columns] for row in rows))


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="How customers name it.", show_default=False)],
    pool: Annotated[str, typer.Option(help="The pool it lies in.", show_default=False)],
    path: Annotated[str, typer.Option(help="Where in the pool.", show_default=False)],
    disk_gib: Annotated[int, typer.Option(min=1, help="The smallest disk for it.", show_default=False)],
    memory_min_mib: Annotated[int, typer.Option(min=0, help="The least memory for it.")] = 0,
    kernel: Annotated[str, typer.Option(help="Boot this kernel directly.")] = "",
    initrd: Annotated[str, typer.Option(help="With --kernel.")] = "",
    cmdline: Annotated[str, typer.Option(help="With --kernel.")] = "",
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Offer an image that lies in a pool already."""
    body: Json = {
        "name": name, "pool": pool, "path": path, "disk_gib": disk_gib, "memory_min_mib": memory_min_mib,
        "kernel": kernel, "initrd": initrd, "cmdline": cmdline,
    }  # fmt: skip
    with connect(api, token) as cloud:
        row = cloud.post("/admin/v1/images", body)["image"]
    if as_json:
        say_json(row)
    else:
        typer.echo(f"image {row['id']} {row['name']}")
