"""`holdfast vm`: what a customer does with VMs, over the customer API; `list --all` is an operator's view."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli.http import (
    DEFAULT_API,
    REFUSED,
    USAGE,
    Api,
    ApiOption,
    Json,
    ProjectOption,
    TokenOption,
    connect,
    fail,
)
from app.cli.output import JsonOption, say_facts, say_json, say_table
from app.cli.vm_rules import explain, set_rules

app = typer.Typer(help="VMs: list, create, show, start, stop, delete.", no_args_is_help=True)
app.command("set")(set_rules)
app.command()(explain)
Vm = Annotated[str, typer.Argument(help="Name or id.", show_default=False)]
Wait = Annotated[bool, typer.Option("--wait", help="Until it is done.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, help="How long to wait, in seconds.")]


@app.command("list")
def list_vms(
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    project: ProjectOption = "",
    everything: Annotated[bool, typer.Option("--all", help="Of all projects, as operators see them.")] = False,
    selector: Annotated[str, typer.Option("--selector", "-l", help="Labels, as in `env=prod,!old`.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List VMs."""
    if everything and selector:
        fail("--all cannot be used with --selector", USAGE)
    with connect(api, token, project) as cloud:
        if everything:
            rows = cloud.pages("/admin/v1/vms", "vms")
        else:
            rows = cloud.pages("/v1/servers", "servers", **({"label_selector": selector} if selector else {}))
    if as_json:
        say_json(rows)
    elif everything:
        columns = ("id", "name", "project_id", "node", "generation", "status", "verified", "unplaced_reason")
        say_table(columns, ([row[c] for c in columns] for row in rows))
    else:
        shown = ((r["id"], r["name"], _status(r), r["server_type"]["name"], _image(r), r["labels"]) for r in rows)
        say_table(("id", "name", "status", "plan", "image", "labels"), shown)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="A hostname, unique in the project.", show_default=False)],
    plan: Annotated[str, typer.Option(help="Name or id.", show_default=False)],
    image: Annotated[str, typer.Option(help="Name or id.", show_default=False)],
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; may be repeated.")] = None,
    user_data: Annotated[
        Path | None, typer.Option(help="A file for cloud-init.", exists=True, dir_okay=False, readable=True)
    ] = None,
    start: Annotated[bool, typer.Option(help="Switch it on.")] = True,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    project: ProjectOption = "",
    wait: Wait = False,
    timeout: Timeout = 300,
    as_json: JsonOption = False,
) -> None:
    """Create a VM."""
    body: Json = {"name": name, "server_type": plan, "image": image, "start_after_create": start}
    if label:
        body["labels"] = dict(_label(one) for one in label)
    if user_data is not None:
        body["user_data"] = _text_of(user_data)
    with connect(api, token, project) as cloud:
        answer = cloud.post("/v1/servers", body)
        if wait:
            cloud.wait([answer["action"], *answer["next_actions"]], timeout)
            answer["server"] = cloud.get(f"/v1/servers/{answer['server']['id']}")["server"]
    if as_json:
        say_json(answer)
    else:
        server = answer["server"]
        typer.echo(f"VM {server['id']} {server['name']}: {_status(server)}")


@app.command()
def show(
    vm: Vm,
    api: ApiOption = DEFAULT_API,
    token: TokenOption = "",
    project: ProjectOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show one VM."""
    with connect(api, token, project) as cloud:
        row = _find(cloud, vm)
    if as_json:
        say_json(row)
        return
    kind = row["server_type"]
    facts = {
        "id": row["id"], "name": row["name"], "status": _status(row), "hint": _hint(row), "plan": kind["name"],
        "cores": kind["cores"], "memory": f"{kind['memory']:g} GiB", "disk": f"{row['primary_disk_size']} GiB",
        "image": _image(row), "created": row["created"], "locked": row["locked"], "labels": row["labels"],
    }  # fmt: skip
    say_facts({k: v for k, v in facts.items() if k != "hint" or v}, "VM")


@app.command()
def start(
    vm: Vm, api: ApiOption = DEFAULT_API, token: TokenOption = "", project: ProjectOption = "",
    wait: Wait = False, timeout: Timeout = 300, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Switch a VM on."""
    _act("poweron", vm, api, token, project, timeout if wait else None, as_json=as_json)


@app.command()
def stop(
    vm: Vm, api: ApiOption = DEFAULT_API, token: TokenOption = "", project: ProjectOption = "",
    wait: Wait = False, timeout: Timeout = 300, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Switch a VM off at once, as by pulling its plug."""
    _act("poweroff", vm, api, token, project, timeout if wait else None, as_json=as_json)


@app.command()
def shutdown(
    vm: Vm, api: ApiOption = DEFAULT_API, token: TokenOption = "", project: ProjectOption = "",
    wait: Wait = False, timeout: Timeout = 300, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Ask a VM's guest to shut down."""
    _act("shutdown", vm, api, token, project, timeout if wait else None, as_json=as_json)


@app.command()
def reset(
    vm: Vm, api: ApiOption = DEFAULT_API, token: TokenOption = "", project: ProjectOption = "",
    soft: Annotated[bool, typer.Option("--soft", help="Ask the guest to reboot instead.")] = False,
    wait: Wait = False, timeout: Timeout = 300, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Press a VM's reset button."""
    _act("reboot" if soft else "reset", vm, api, token, project, timeout if wait else None, as_json=as_json)


@app.command()
def delete(
    vm: Vm, api: ApiOption = DEFAULT_API, token: TokenOption = "", project: ProjectOption = "",
    wait: Wait = False, timeout: Timeout = 300, as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Delete a VM and its disk."""
    with connect(api, token, project) as cloud:
        action = cloud.delete(f"/v1/servers/{_find(cloud, vm)['id']}")["action"]
        _ended(cloud, action, timeout if wait else None, as_json=as_json)


@app.command()
def migrate(
    vm_id: Annotated[int, typer.Argument(metavar="ID", min=1, help="The VM's id.", show_default=False)],
    to: Annotated[str, typer.Option("--to", help="The node; else wherever there is room.", show_default=False)] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="End the migration that is under way.")] = False,
    api: ApiOption = DEFAULT_API, token: TokenOption = "", as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Move a VM to another node while it runs (operators). `holdfast vm list --all` shows where it is."""
    if cancel and to:
        fail("--cancel cannot be used with --to", USAGE)
    with connect(api, token) as cloud:
        if cancel:
            answer = cloud.post(f"/admin/v1/vms/{vm_id}/cancel-migration")["vm"]
        else:
            answer = cloud.post(f"/admin/v1/vms/{vm_id}/migrate", {"to": to})["action"]
    if as_json:
        say_json(answer)
    elif cancel:
        typer.echo(f"VM {vm_id}: the migration is being ended, it runs on on {answer['node']}")
    else:
        typer.echo(f"VM {vm_id}: migration asked for, action {answer['id']}")


def _act(
    command: str, vm: str, api: str, token: str, project: str, wait_seconds: float | None, *, as_json: bool
) -> None:
    with connect(api, token, project) as cloud:
        action = cloud.post(f"/v1/servers/{_find(cloud, vm)['id']}/actions/{command}")["action"]
        _ended(cloud, action, wait_seconds, as_json=as_json)


def _ended(cloud: Api, action: Json, wait_seconds: float | None, *, as_json: bool) -> None:
    if wait_seconds is not None:
        cloud.wait([action], wait_seconds)
        action = cloud.get(f"/v1/actions/{action['id']}")["action"]
    if as_json:
        say_json(action)
    else:
        typer.echo(f"{action['command']}: {action['status']}")


def _find(cloud: Api, wanted: str) -> Json:
    """By name, else by id: a number can be a name, too."""
    named: list[Json] = cloud.get("/v1/servers", name=wanted)["servers"] if wanted else []
    if named:
        return named[0]
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) < 16):
        fail(f"there is no VM {wanted!r} in this project", REFUSED)
    found: Json = cloud.get(f"/v1/servers/{wanted}")["server"]
    return found


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        fail(f"--label {text!r}: write KEY=VALUE", USAGE)
    return key, value


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {error}", USAGE)


def _status(row: Json) -> str:
    """Our own word where the API gives it: the customers' tools know fewer."""
    return str(row.get("holdfast", {}).get("status") or row["status"])


def _hint(row: Json) -> str:
    return str(row.get("holdfast", {}).get("hint", ""))


def _image(row: Json) -> str:
    return row["image"]["name"] if row["image"] else ""
