"""The daemons of a node as files that its init obeys: units/<name>.json says what should be, unit-states/ what is."""

from __future__ import annotations

import json
import signal
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.lab.errors import LabError
from app.lab.paths import NodePaths
from app.lab.processes import Process
from app.lab.state import write_json
from app.lab.wait import wait_until


@dataclass(frozen=True)
class Unit:
    """`restart`: start it again half a second after it died, as systemd does with Restart=always.

    `start_requests` counts explicit starts: a new one starts even what died and is not to be restarted.
    """

    argv: tuple[str, ...]
    enabled: bool = True
    restart: bool = False
    start_requests: int = 0


@dataclass(frozen=True)
class UnitState:
    """`starts`: how often it was started since the node's power-on; `exits`: how each run ended."""

    process: Process | None
    starts: int
    exits: tuple[int, ...]


def save_unit(node: NodePaths, name: str, unit: Unit) -> None:
    write_json(node.units / f"{name}.json", asdict(unit))


def load_unit(node: NodePaths, name: str) -> Unit:
    try:
        return _unit(node.units / f"{name}.json")
    except FileNotFoundError:
        raise LabError(f"this node has no {name}; the lab was started without that service") from None


def load_units(node: NodePaths) -> dict[str, Unit]:
    return {path.stem: _unit(path) for path in sorted(node.units.glob("[!.]*.json"))}


def _unit(path: Path) -> Unit:
    data = json.loads(path.read_text())
    return Unit(tuple(data["argv"]), data["enabled"], data["restart"], data["start_requests"])


def save_unit_state(node: NodePaths, name: str, state: UnitState) -> None:
    write_json(node.unit_states / f"{name}.json", asdict(state))


def load_unit_state(node: NodePaths, name: str) -> UnitState | None:
    try:
        data = json.loads((node.unit_states / f"{name}.json").read_text())
    except FileNotFoundError:
        return None
    process = None if data["process"] is None else Process(**data["process"])
    return UnitState(process, data["starts"], tuple(data["exits"]))


def is_running(node: NodePaths, name: str) -> bool:
    state = load_unit_state(node, name)
    return state is not None and state.process is not None and state.process.is_alive()


def kill_unit(node: NodePaths, name: str, restart: bool, signal_number: int = signal.SIGKILL) -> None:
    """Kill the daemon. `restart=False` also keeps its init from starting it again."""
    save_unit(node, name, replace(load_unit(node, name), enabled=restart))
    state = load_unit_state(node, name)
    if state is not None and state.process is not None:
        state.process.send(signal_number)
        wait_until(lambda: not is_running(node, name) or restart, 10, f"{name} to die")


def start_unit(node: NodePaths, name: str, init: Process, timeout_seconds: float = 10) -> None:
    """Let the node's init start it, and wait until it has a process (not until it answers)."""
    unit = load_unit(node, name)
    save_unit(node, name, replace(unit, enabled=True, start_requests=unit.start_requests + 1))
    init.send(signal.SIGHUP)
    wait_until(lambda: is_running(node, name), timeout_seconds, f"{name} to start")
