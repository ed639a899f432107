"""`holdfast vm set` and `holdfast vm explain`: an operator's rules for one VM, and what placement makes of them."""

from typing import Annotated

import typer

from app.cli.http import DEFAULT_API, USAGE, ApiOption, Json, TokenOption, connect, fail
from app.cli.output import JsonOption, say_json, say_table

Id = Annotated[int, typer.Argument(help="The VM's id.", show_default=False)]
_Many = Annotated[list[str] | None, typer.Option(help="KEY=VALUE; may be repeated. Lists are joined by commas.")]
_LISTS = ("tags", "avoid_tags", "networks", "groups", "waits_for")


def set_rules(
    vm: Id, ha: _Many = None, needs: _Many = None,
    priority: Annotated[int | None, typer.Option(help="The higher the earlier.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where the guarantee is broken by it.")] = False,
    api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Say how HA treats a VM and where it may be, as in --needs tags=ssd,fast --ha ha_class=best-effort."""
    body: Json = {}
    for part, given in (("ha", ha), ("needs", needs)):
        if given:
            body[part] = dict(_pair(part, one) for one in given)
    if priority is not None:
        body["priority"] = priority
    if not body:
        fail("nothing is to be changed: use --ha, --needs or --priority", USAGE)
    if force:
        body["force"] = True
    with connect(api, token) as cloud:
        row = cloud.patch(f"/admin/v1/vms/{vm}", body)["vm"]
    if as_json:
        say_json(row)
    else:
        typer.echo(f"VM {row['id']} {row['name']}: changed")


def _pair(part: str, text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        fail(f"--{part} {text!r}: write KEY=VALUE", USAGE)
    return key, _value(key, value)


def _value(key: str, text: str) -> object:
    if key in _LISTS:
        parts = [p for p in text.split(",") if p]
        return [int(p) if key == "waits_for" and p.isdecimal() else p for p in parts]
    if text in ("true", "false"):
        return text == "true"
    if key.endswith("_seconds"):
        try:
            return float(text)
        except ValueError:
            fail(f"{key}: {text!r} is no number of seconds", USAGE)
    return text


def explain(vm: Id, api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False) -> None:
    """Show why a VM is where it is, and what speaks for and against every node now."""
    with connect(api, token) as cloud:
        row = cloud.get(f"/admin/v1/vms/{vm}/explain")["explain"]
    if as_json:
        say_json(row)
        return
    typer.echo(f"VM {row['vm']} {row['name']} is on {row['node'] or 'no node'}: {row['why'] or 'nobody said why'}")
    say_table(
        ("node", "takes it", "why"),
        ((f"{n['node']}{' (here)' * n['here']}", n["takes"], n["why"]) for n in row["nodes"]),
    )
    for problem in row["problems"]:
        typer.echo(f"problem: {problem}")
