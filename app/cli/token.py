"""`holdfast token`: who may ask for what, for operators."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import typer

from app.cli.http import DEFAULT_API, ApiOption, Json, TokenOption, connect
from app.cli.output import JsonOption, say_json, say_table

app = typer.Typer(help="Tokens: list, create, revoke.", no_args_is_help=True)


@app.command("list")
def list_tokens(api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """List tokens. Their texts are stored nowhere."""
    with connect(api, token) as cloud:
        rows = cloud.pages("/admin/v1/tokens", "tokens")
    if as_json:
        say_json(rows)
    else:
        columns = ("id", "name", "scope", "project_id", "created", "expires")
        say_table(columns, ([row[c] for c in columns] for row in rows))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.", show_default=False)],
    scope: Annotated[Literal["read", "write", "admin", "metrics"], typer.Option(help="What it may do.")] = "write",
    for_project: Annotated[
        str,
        typer.Option("--for", help="The project it works in, by name; none for admin and metrics.", show_default=False),
    ] = "",
    days: Annotated[float | None, typer.Option(min=0.001, max=36500, help="Until it expires. Default: never.")] = None,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """Make a token and print its text, which is shown this once."""
    body: Json = {"name": name, "scope": scope}
    if for_project:
        body["project"] = for_project
    if days is not None:
        body["expires"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    with connect(api, token) as cloud:
        answer = cloud.post("/admin/v1/tokens", body)
    if as_json:
        say_json(answer)
    else:
        # The text is lost if an answer got lost and the request was repeated: then the token is there without it.
        typer.echo(answer["text"] or f"token {answer['token']['id']} was made, its text got lost: revoke it")


@app.command()
def revoke(
    token_id: Annotated[int, typer.Argument(min=1, help="Its id, see `list`.", show_default=False)],
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
) -> None:
    """Take a token away: it works no more."""
    with connect(api, token) as cloud:
        cloud.delete(f"/admin/v1/tokens/{token_id}")
    typer.echo(f"token {token_id} is revoked")
