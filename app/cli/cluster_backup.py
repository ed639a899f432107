"""`holdfast cluster backup | restore`: the state as one file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from app.cli.daemons import CONFIG, ConfigOption
from app.config import load_config
from app.setup import backup as work
from app.setup.init import need_root
from app.setup.machine import Machine

File = Annotated[Path, typer.Argument(help="The backup's file.", show_default=False)]


def backup(file: File, config: ConfigOption = CONFIG) -> None:
    """Write the whole state of this moment into a file. VMs' volumes and the nodes' keys are not in it."""
    size = work.backup(load_config(config), file)
    typer.echo(f"{file}: {size / 1024:.0f} KiB")


def restore(
    file: File,
    replace: Annotated[bool, typer.Option("--replace", help="Also over a state, and under running agents.")] = False,
    config: ConfigOption = CONFIG,
) -> None:
    """Put a backup in place of the state. The cluster is disarmed then: look at every VM before you arm it."""
    need_root(os.geteuid())
    running = work.agent_here(Machine())
    count = work.restore(load_config(config), file, replace_state=replace, running=running)
    typer.echo(f"{count} rows are restored; the cluster is disarmed")
