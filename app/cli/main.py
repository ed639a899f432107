"""`holdfast`: one program for operators, nodes, the lab and the simulator. Commands are imported when called."""

import sys
from typing import Annotated

import typer

from app.cli.lazy import lazily
from app.domain.errors import DomainError, SoftwareTooOld

#: EX_CONFIG of sysexits.h: the units are not started again after it
TOO_OLD = 78

#: groups and commands, in the order in which they are shown
PLACES = {
    "agent": "app.cli.daemons:agent",
    "api": "app.cli.daemons:api",
    "bootstrap": "app.cli.daemons:bootstrap",
    "simulate": "app.cli.simulate:simulate",
    "capacity": "app.cli.capacity:capacity",
    "cluster": "app.cli.cluster:app",
    "vm": "app.cli.vm:app",
    "placement": "app.cli.placement:app",
    "node": "app.cli.node:app",
    "incident": "app.cli.incident:app",
    "event": "app.cli.event:app",
    "audit": "app.cli.audit:app",
    "notify": "app.cli.notify:app",
    "image": "app.cli.image:app",
    "plan": "app.cli.plan:app",
    "token": "app.cli.token:app",
    "lab": "app.cli.lab:app",
    "db": "app.cli.daemons:database",
}

main = typer.Typer(
    name="holdfast",
    cls=lazily(PLACES),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"holdfast {version('holdfast')}")
        raise typer.Exit


@main.callback()
def holdfast(
    _version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """A self-healing KVM cloud on a rack of Debian servers."""


def run() -> None:
    """The program's entry point: what went wrong on purpose is one line on stderr, never a traceback."""
    try:
        main()
    except DomainError as error:
        sys.stderr.write(f"holdfast: {error}\n")
        sys.exit(TOO_OLD if isinstance(error, SoftwareTooOld) else 1)


if __name__ == "__main__":
    run()
