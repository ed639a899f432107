"""`holdfast cluster`: what is set for the whole cluster, for operators."""

import json
from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, USAGE, ApiOption, TokenOption, connect, fail
from app.cli.output import JsonOption, say_facts, say_json

app = typer.Typer(help="The cluster as a whole: settings.", no_args_is_help=True)
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
