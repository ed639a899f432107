"""A scenario: a directory with `cluster.toml` (what there is), `script.txt` (what happens) and `expected.log`."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.domain.errors import ScenarioError
from app.domain.fencing import FencingTimes
from app.domain.node import NodeRole
from app.simulator.layout import Layout, NodeLayout, VmLayout
from app.simulator.script import Command, parse_script

_CLUSTER = {
    "seed": int, "image_lock": bool, "boot_seconds": float, "startup_grace_seconds": float,
    "self_fence_seconds": float, "detection_skew_seconds": float,
}  # fmt: skip
_NODE = {
    "memory_mib": int, "cores": int, "role": str, "watchdog_seconds": float, "fence": bool, "on": bool,
    "clock_ahead_seconds": float, "clock_drift_ppm": float, "outdated": bool,
}  # fmt: skip
_VM = {"memory_mib": int, "node": str, "priority": int, "running": bool}
_MAY_BE_NEGATIVE = ("clock_ahead_seconds", "clock_drift_ppm")
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One parsed scenario. `expected` is None while there is no expected.log."""

    directory: Path
    layout: Layout
    commands: tuple[Command, ...]
    expected: str | None


def load_scenario(directory: Path) -> Scenario:
    """Read and check the files. ScenarioError names the file, the line and what was expected."""
    layout = parse_cluster(_read(directory / "cluster.toml"), str(directory / "cluster.toml"))
    script = directory / "script.txt"
    commands = parse_script(_read(script), layout, str(script))
    log = directory / "expected.log"
    return Scenario(directory, layout, commands, log.read_text(encoding="utf-8") if log.exists() else None)


def parse_cluster(text: str, file: str) -> Layout:
    """The layout out of a cluster.toml: `[nodes.NAME]` and `[vms.NAME]` tables beside the cluster's own keys."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"{file}: {error}") from error
    nodes, vms = raw.pop("nodes", {}), raw.pop("vms", {})
    for name, table in (("nodes", nodes), ("vms", vms)):
        if not isinstance(table, dict) or not all(isinstance(t, dict) for t in table.values()):
            raise ScenarioError(f"{file}: `{name}` must be tables, like [{name}.{name[0]}1]")
    if not nodes:
        raise ScenarioError(f"{file}: there is no node; write for example [nodes.n1]")
    layout = Layout(
        tuple(_node(name, _typed(table, _NODE, f"{file}: nodes.{name}"), file) for name, table in nodes.items()),
        tuple(VmLayout(name, **_typed(table, _VM, f"{file}: vms.{name}")) for name, table in vms.items()),
    )
    for vm in layout.vms:
        if vm.node and vm.node not in nodes:
            raise ScenarioError(f"{file}: vms.{vm.name}.node: there is no node {vm.node!r}; there are {sorted(nodes)}")
    layout = replace(layout, **_typed(raw, _CLUSTER, file))
    times = FencingTimes(layout.self_fence_seconds, layout.detection_skew_seconds)
    for node in layout.nodes:
        try:
            times.check(node.watchdog_seconds)
        except ValueError as error:
            raise ScenarioError(f"{file}: nodes.{node.name}: {error}") from error
    return layout


def dump_cluster(layout: Layout) -> str:
    """The cluster.toml of a layout; `parse_cluster` gives the same layout back."""
    lines = [f"{key} = {_toml(getattr(layout, key))}" for key in _CLUSTER]
    for node in layout.nodes:
        lines += ["", f"[nodes.{node.name}]"]
        values = {key: getattr(node, key) for key in _NODE} | {"role": node.role.value}
        values["watchdog_seconds"] = node.watchdog_seconds or 0
        lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
    for vm in layout.vms:
        lines += ["", f"[vms.{vm.name}]"]
        lines += [f"{key} = {_toml(getattr(vm, key))}" for key in _VM]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _node(name: str, values: dict[str, Any], file: str) -> NodeLayout:
    role = values.pop("role", "compute")
    try:
        node = NodeLayout(name, role=NodeRole(role), **values)
    except ValueError:
        roles = ", ".join(r.value for r in NodeRole)
        raise ScenarioError(f"{file}: nodes.{name}.role: {role!r} is no role; there are {roles}") from None
    return replace(node, watchdog_seconds=node.watchdog_seconds or None)


def _typed(table: dict[str, Any], known: dict[str, type], where: str) -> dict[str, Any]:
    for key, value in table.items():
        if key not in known:
            raise ScenarioError(f"{where}: unknown key {key!r}; there are {', '.join(known)}")
        kind = known[key]
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (kind is not bool and isinstance(value, bool)):
            raise ScenarioError(f"{where}.{key}: {value!r} must be {_KINDS[kind]}")
        if kind in (int, float) and value < 0 and key not in _MAY_BE_NEGATIVE:
            raise ScenarioError(f"{where}.{key}: {value!r} must not be negative")
    return dict(table)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{file}: {error.strerror}; a scenario has cluster.toml and script.txt") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{file}: {error}") from error
