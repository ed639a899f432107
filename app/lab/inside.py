"""Running things inside a node that is on."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from app.lab import galera
from app.lab.errors import LabError
from app.lab.paths import LabPaths
from app.lab.processes import Process
from app.lab.state import load_lab, load_power
from app.lab.units import load_unit_state, start_unit
from app.lab.wait import wait_until


def init_process(paths: LabPaths, node: str) -> Process:
    """The node's first process. Errors: LabError when the node is off or unknown."""
    load_lab(paths).node(node)
    init = load_power(paths.node(node)).init
    if init is None or not init.is_alive():
        raise LabError(f"{node} is off; start it with `holdfast lab power-on {node}`")
    return init


def run(paths: LabPaths, node: str, argv: Sequence[str], timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command inside the node and wait for it."""
    init = init_process(paths, node)
    command = ["nsenter", f"--target={init.pid}", "--mount", "--net", "--uts", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_seconds)


def start(paths: LabPaths, node: str, service: str) -> None:
    """Start one of its daemons; returns when it has a process."""
    start_unit(paths.node(node), service, init_process(paths, node))


def wait_for_database(paths: LabPaths, node: str, size: int | None, timeout_seconds: float) -> None:
    """Until its member is in sync (in a primary component of `size`). Errors: LabError, at once if it has ended."""
    here = paths.node(node)

    def synced() -> bool:
        state = load_unit_state(here, "database")
        if state is not None and state.process is None:
            tail = (here.log / "database.log").read_text()[-1500:]
            raise LabError(f"the database on {node} has ended with {state.exits[-1:]}: {tail}")
        return galera.is_synced(here, size)

    wait_until(synced, timeout_seconds, f"the database on {node}", 0.1)
