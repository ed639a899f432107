"""The commands that systemd runs, and those that make a fresh state.

The parts they are built from (SQL, HTTP server, libvirt) are imported when one of them runs: none needs those of all.
"""

import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from app.adapters.system.collector import collect_later

DEV_DIRECTORY = Path("~/.local/share/holdfast-dev")
CONFIG = Path("/etc/holdfast/holdfast.toml")
ConfigOption = Annotated[Path, typer.Option("--config", help="This node's settings.")]
database = typer.Typer(help="The state database.", no_args_is_help=True)


def agent(config: ConfigOption = CONFIG) -> None:
    """This node's agent: its VMs, its storage path, and the cluster's coordinator if it is elected."""
    collect_later()
    from app.bootstrap.agent import AgentProcess
    from app.config import load_config

    _log()
    process = AgentProcess(load_config(config))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.stop())
    process.run()


def api(
    config: ConfigOption = CONFIG,
    dev: Annotated[bool, typer.Option("--dev", help="A first look, no root: SQLite, mock VMs.")] = False,
    directory: Annotated[Path, typer.Option("--dir", help="With --dev: where the state is kept.")] = DEV_DIRECTORY,
    listen: Annotated[str, typer.Option(help="With --dev: ADDRESS:PORT.")] = "127.0.0.1:8470",
) -> None:
    """The HTTP API of this node."""
    collect_later()
    _log()
    if dev:
        from app.cli.dev_api import run_dev_api

        run_dev_api(directory.expanduser().absolute(), listen)
        return
    from app.bootstrap.api import serve_api
    from app.config import load_config

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve_api(load_config(config), stop)


def shutdown_hook(config: ConfigOption = CONFIG) -> None:
    """For systemd: what the orderly shutdown of this host waits for, by `node.on_shutdown` of its settings."""
    from app.bootstrap.agent import shut_down
    from app.config import load_config

    _log()
    left = shut_down(load_config(config))
    if left:
        typer.echo(f"still here, and started elsewhere by a recovery: {', '.join(left)}", err=True)


@database.command("upgrade")
def db_upgrade(
    config: ConfigOption = CONFIG,
    contract: Annotated[
        bool,
        typer.Option("--contract", help="Also take away what only the version before used. Every node must have this."),
    ] = False,
) -> None:
    """Bring the database's schema to this version, so far as nodes of the version before can go on with it."""
    from app.bootstrap.state import contract_database, upgrade_database
    from app.cli.http import UNREACHABLE, fail
    from app.config import load_config
    from app.ports.store import StoreUnavailable

    _log()
    settings = load_config(config)
    try:
        left = upgrade_database(settings)
        done = contract_database(settings) if contract and left else ()
    except StoreUnavailable as error:
        fail(f"no database answers: {error}", UNREACHABLE)
    if done:
        typer.echo(f"contracted: {', '.join(done)}")
    elif left:
        typer.echo(f"left until every node has this version: {', '.join(left)} (`holdfast cluster upgrade` does it)")


def bootstrap(config: ConfigOption = CONFIG) -> None:
    """Make the first project and the first tokens of a fresh cloud and print them, once, as JSON."""
    from app.bootstrap.state import first_tokens
    from app.config import load_config

    _log()
    typer.echo(json.dumps(first_tokens(load_config(config))))


def _log() -> None:
    """One line of key=value for each event, to stderr: the journal's."""
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # asked for with each line: what a test took for its own is closed after it
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
