"""`holdfast audit`: who asked for which write, and what came of it."""

from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, ApiOption, TokenOption, connect
from app.cli.output import JsonOption, say_json, say_table

app = typer.Typer(help="The audit log: list.", no_args_is_help=True)


@app.command("list")
def list_audit(
    project: Annotated[int | None, typer.Option("--project-id", min=1, help="Of one project.")] = None,
    token_id: Annotated[int | None, typer.Option("--token-id", min=1, help="Of one token.")] = None,
    correlation: Annotated[str, typer.Option("--correlation-id", help="Of one request.", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=1, max=50, help="How many to a page.")] = 25,
    page: Annotated[int, typer.Option(min=1, help="Which page; the first has the newest.")] = 1,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    as_json: JsonOption = False,
) -> None:
    """List who wrote what, the refused requests too; of a page the oldest first."""
    wanted = {"project_id": project, "token_id": token_id, "correlation_id": correlation}
    params: dict[str, object] = {k: v for k, v in wanted.items() if v}
    with connect(api, token) as cloud:
        answer = cloud.get("/admin/v1/audit", per_page=limit, page=page, **params)
    rows = answer["audit"][::-1]
    if as_json:
        say_json(rows)
        return
    columns = ("time", "token", "project", "request", "status", "correlation id", "details")
    say_table(columns, map(_row, rows))
    paging = answer["meta"]["pagination"]
    if paging["next_page"]:
        typer.echo(f"page {page} of {paging['last_page']}; older ones: --page {paging['next_page']}", err=True)


def _row(row: dict[str, object]) -> tuple[object, ...]:
    details = row["details"]
    said = " ".join(f"{k}={v}" for k, v in details.items()) if isinstance(details, dict) else ""
    request = f"{row['method']} {row['path']}"
    return row["at"], row["token_id"], row["project_id"], request, row["status_code"], row["correlation_id"], said
