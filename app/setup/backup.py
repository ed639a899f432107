"""`holdfast cluster backup` and `restore`: the state, whole, as one file."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from app.adapters.cluster_files.write import write_file
from app.config import Config
from app.domain.errors import Conflict, InvalidInput
from app.ports.store import Transaction
from app.setup.machine import Machine
from app.setup.parts import build_store, upgrade_database


def backup(config: Config, file: Path) -> int:
    """Write the state of this moment into the file, readable for its owner alone; its size in bytes."""
    from app.adapters.db import dump

    about = {"version": version("holdfast"), "at": datetime.now(UTC).isoformat(), "node": config.node.name}
    text = "\n".join(dump.dump(config.database.urls[0], about)) + "\n"
    data = gzip.compress(text.encode(), mtime=0)
    write_file(file, data, 0o600)
    return len(data)


def restore(
    config: Config, file: Path, *, replace_state: bool, running: Callable[[Config], str]
) -> int:  # fmt: skip
    """Put the state in that file in place of this cluster's, and disarm; the number of rows.

    A state that is older than the VMs says wrong things of them, so nothing is moved, killed or started until an
    operator has looked. Conflict while agents run (`running` says whose), unless `replace_state`.
    """
    from app.adapters.db import dump

    try:
        lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InvalidInput("file", f"{file} is no backup: {error}") from error
    if not replace_state and (who := running(config)):
        raise Conflict(
            f"{who}: stop holdfast-agent and holdfast-api on all nodes first, or say --replace if you mean to pull the"
            " state away under them"
        )
    upgrade_database(config)
    count = dump.restore(config.database.urls[0], lines, replace=replace_state)
    store = build_store(config)
    try:
        store.run(lambda tx: _disarm(tx, file.name))
    finally:
        store.close()
    return count


def agent_here(machine: Machine) -> Callable[[Config], str]:
    """Whether this node's agent runs; those of the others are the operator's to stop."""

    def running(config: Config) -> str:
        active = machine.succeeds("systemctl", "--quiet", "is-active", "holdfast-agent")
        return f"the agent of {config.node.name} runs" if active else ""

    return running


def _disarm(tx: Transaction, name: str) -> None:
    for row in tx.settings.where():
        reason = f"restored from {name}: look at every VM, then arm"
        tx.settings.save(
            replace(row, armed=False, disarmed_by="restore", disarmed_reason=reason, disarmed_at=datetime.now(UTC))
        )
