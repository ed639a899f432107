"""`holdfast cluster doctor`: what is wrong here, and what mends it."""

import os
from dataclasses import asdict

import typer

from app.cli.http import REFUSED
from app.cli.output import JsonOption, say_json
from app.setup.doctor_look import look
from app.setup.doctor_rules import CHECKS, diagnose
from app.setup.init import need_root
from app.setup.machine import Machine


def doctor(as_json: JsonOption = False) -> None:
    """Look for faults of this node and of its cluster, and say how to mend them. Exit code 1 when one is urgent."""
    need_root(os.geteuid())
    found = diagnose(look(Machine()))
    if as_json:
        say_json([asdict(f) for f in found])
    else:
        for f in found:
            typer.echo(f"{'✗' if f.urgent else '!'} {f.check}: {f.wrong}\n    {f.fix}")
        well = len(CHECKS) - len({f.check for f in found})
        typer.echo(f"{well} of {len(CHECKS)} checks found nothing")
    if any(f.urgent for f in found):
        raise typer.Exit(REFUSED)
