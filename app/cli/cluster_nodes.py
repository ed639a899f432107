"""`holdfast cluster init | invite | join | leave | forget | status`: which nodes a cluster has. Run as root on one."""

import os
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.adapters.cluster_files import pki, places
from app.cli.daemons import CONFIG, ConfigOption
from app.cli.http import REFUSED, UNREACHABLE, fail
from app.cli.output import JsonOption, say_facts, say_json, say_table
from app.config import load_config
from app.domain.node import NodeRole
from app.ports.store import StoreUnavailable
from app.setup import members
from app.setup.init import Init, InitOrder, need_root, own_layout
from app.setup.invite import PORT, Invitation, InviteServer, read_secrets, serve_until
from app.setup.join import Join, JoinOrder
from app.setup.join_token import new_token, parse_token
from app.setup.machine import Machine
from app.setup.renew import Renew
from app.setup.steps import Progress, run_steps

Node = Annotated[str, typer.Option("--node", help="This node's name; by default the host's.", show_default=False)]
Addresses = Annotated[
    list[str],
    typer.Option("--address", help="This node's address; once for each link, the preferred first.", show_default=False),
]
Role = Annotated[NodeRole, typer.Option("--role", help="What the node is for.")]

#: a step that took longer says so
SLOW_SECONDS = 2

Force = Annotated[bool, typer.Option("--force", help="Also where the guarantee is broken by it.")]


class Lines(Progress):
    """One line for each step: what it is, then what came of it, and how long it took where that was long."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, markup=False)
        self._began = time.monotonic()

    def begins(self, step: str) -> None:
        """Shown while it runs, in a terminal only."""
        self._began = time.monotonic()
        if self._console.is_terminal:
            self._console.print(f"  … {step}", end="\r", style="dim")

    def ended(self, step: str, said: str) -> None:
        """Done."""
        took = time.monotonic() - self._began
        words = f"{step}{': ' + said if said else ''}" + (f" ({took:.0f} s)" if took >= SLOW_SECONDS else "")
        self._console.print(f"  ✓ {words}   ")

    def failed(self, step: str, why: str) -> None:  # noqa: ARG002
        """The error itself is said by who ends the program."""
        self._console.print(f"  ✗ {step}   ")


def init(
    addresses: Addresses,
    node: Node = "",
    name: Annotated[str, typer.Option("--name", help="The cluster's name.")] = "holdfast",
    role: Role = NodeRole.COMPUTE,
    token: Annotated[
        int, typer.Option(help="Corosync's token time-out in milliseconds; the database's follow it.")
    ] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Make a cluster of this node. Said again after an interruption, it goes on where it was."""
    need_root(os.geteuid())
    order = InitOrder(name, node or _hostname(), tuple(addresses), role, token)
    work = Init(Machine(), order)
    run_steps(work.steps(), Progress() if as_json else Lines())
    if as_json:
        say_json({"cluster": name, "node": order.node, **work.tokens()})
        return
    typer.echo(f"""
The cluster {name} has its first node, {order.node}. First tokens: {places.FIRST_TOKENS}
For the next node run here `holdfast cluster invite`, and there the command that it prints.""")


def invite(
    minutes: Annotated[float, typer.Option(min=0.1, max=1440, help="How long the token is good.")] = 30,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the new node connects to.")] = PORT,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Let one node in: print a one-time token, and wait until the node has joined or time is up."""
    need_root(os.geteuid())
    settings = load_config(config)
    own_layout()
    token = new_token(pki.fingerprint(places.NODE_CERTIFICATE.read_bytes()))
    invitation = Invitation(
        token,
        read_secrets(Path("/"), members.shared_sections(config)),
        lambda *who: members.admit(settings, *who),
        lambda text: typer.echo(text, err=True),
    )
    address = settings.node.address
    server = InviteServer(address, port, places.NODE_CERTIFICATE, places.NODE_KEY, invitation)
    there = f"{address}:{port}" if port != PORT else address
    if as_json:
        say_json({"address": address, "port": port, "token": token.text, "minutes": minutes})
    else:
        typer.echo(f"On the new node, within {minutes:g} minutes:\n")
        typer.echo(f"  holdfast cluster join {there} --token {token.text} --address ITS-ADDRESS\n")
    if not serve_until(server, minutes * 60):
        fail("no node has joined: the token is void now", REFUSED)
    typer.echo(f"{invitation.node} is a member", err=True)


def join(
    server: Annotated[str, typer.Argument(help="ADDRESS or ADDRESS:PORT of the node that invites.")],
    token: Annotated[str, typer.Option("--token", help="What `holdfast cluster invite` printed.")],
    addresses: Addresses,
    node: Node = "",
    role: Role = NodeRole.COMPUTE,
    database: Annotated[
        bool | None, typer.Option("--database/--no-database", help="Hold the state here. Default: the first three do.")
    ] = None,
) -> None:
    """Make this machine a member. Said again after an interruption, it goes on where it was."""
    need_root(os.geteuid())
    host, port = _host_and_port(server)
    order = JoinOrder(host, port, parse_token(token), node or _hostname(), tuple(addresses), role, database)
    run_steps(Join(Machine(), order).steps(), Lines())
    typer.echo(f"{order.node} is a member of the cluster")


def leave(config: ConfigOption = CONFIG, force: Force = False) -> None:
    """Take this node out of its cluster. It must have no VMs; volumes and logs stay."""
    need_root(os.geteuid())
    run_steps(members.leave_steps(load_config(config), Machine(), force=force), Lines())


def forget(
    name: Annotated[str, typer.Argument(help="The node that is gone for good.", show_default=False)],
    config: ConfigOption = CONFIG,
    force: Force = False,
) -> None:
    """Take a dead node out of the cluster, so that another can take its place. Its VMs must be recovered."""
    need_root(os.geteuid())
    layout = members.forget(load_config(config), name, force=force)
    typer.echo(f"{name} is forgotten; members: {', '.join(m.name for m in layout.members)}")


def renew_certificates() -> None:
    """Make this node's certificate anew, while everything runs on. Once on every node, before it ends."""
    need_root(os.geteuid())
    run_steps(Renew(Machine()).steps(), Lines())


def status(config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Show how the members stand, as this node sees it. Exit code 1 when it is not quorate."""
    try:
        found = members.cluster_status(load_config(config))
    except StoreUnavailable as error:
        fail(f"no database answers: {error}", UNREACHABLE)
    if as_json:
        say_json(asdict(found))
    else:
        say_facts({"quorate": found.quorate, "version": found.version, "layout": found.layout_version}, found.cluster)
        columns = ("node", "id", "addresses", "role", "database", "corosync", "state", "health", "maintenance")
        rows = [
            (m.name, m.id, m.addresses, m.role, m.database, m.corosync, m.state, m.health, m.maintenance)
            for m in found.members
        ]
        say_table(columns, rows)
        for warning in found.warnings:
            typer.echo(f"warning: {warning}")
    if not found.quorate:
        raise typer.Exit(REFUSED)


def _hostname() -> str:
    return socket.gethostname().partition(".")[0]


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if colon and port.isdecimal() and (host.count(":") == 0 or host.startswith("[")):
        return host.strip("[]"), int(port)
    return text.strip("[]"), PORT
