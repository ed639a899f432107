"""A scenario: a directory with `cluster.toml` (what there is), `script.txt` (what happens) and `expected.log`."""

import tomllib
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from app.domain.cluster_settings import AfterKeep
from app.domain.errors import ScenarioError
from app.domain.fencing import FencingTimes
from app.domain.node import NodeRole
from app.domain.placement_group import GroupDomain, GroupKind
from app.domain.policy import HaClass, HaPolicy
from app.simulator.layout import GroupLayout, Layout, NodeLayout, VmLayout
from app.simulator.script import Command, parse_script

_CLUSTER = {
    "seed": int, "image_lock": bool, "boot_seconds": float, "startup_grace_seconds": float,
    "cluster_starts_max": int, "self_fence_seconds": float, "detection_skew_seconds": float,
    "strategy": str, "memory_overcommit": float, "cpu_overcommit": float,
    "storm_share": float, "quarantine_losses": int, "quarantine_seconds": float, "rebalance": bool,
    "storage_fences": list,
    "heartbeat": bool, "isolated_keep_seconds": float, "isolated_then": str,
}  # fmt: skip
_NODE = {
    "memory_mib": int, "cores": int, "role": str, "watchdog_seconds": float, "fence": bool, "on": bool,
    "clock_ahead_seconds": float, "clock_drift_ppm": float, "outdated": bool, "fence_levels": int,
    "rack": str, "tags": list, "pools": list, "networks": list, "cpu_models": list,
}  # fmt: skip
_VM = {
    "memory_mib": int, "node": str, "priority": int, "running": bool, "cores": int, "ha_class": str, "tags": list,
    "avoid_tags": list, "networks": list, "cpu_model": str, "groups": list, "local": bool,
    "pool": str,
}  # fmt: skip
_GROUP: dict[str, type] = {"kind": str, "domain": str}
#: keys whose values are words of the domain
_WORDS: dict[str, type[StrEnum]] = {
    "role": NodeRole, "ha_class": HaClass, "kind": GroupKind, "domain": GroupDomain, "isolated_then": AfterKeep,
}  # fmt: skip
_MAY_BE_NEGATIVE = ("clock_ahead_seconds", "clock_drift_ppm")
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list of texts"}


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
    nodes, vms, groups = raw.pop("nodes", {}), raw.pop("vms", {}), raw.pop("groups", {})
    for name, table in (("nodes", nodes), ("vms", vms), ("groups", groups)):
        if not isinstance(table, dict) or not all(isinstance(t, dict) for t in table.values()):
            raise ScenarioError(f"{file}: `{name}` must be tables, like [{name}.{name[0]}1]")
    if not nodes:
        raise ScenarioError(f"{file}: there is no node; write for example [nodes.n1]")
    layout = Layout(
        tuple(_node(name, _typed(table, _NODE, f"{file}: nodes.{name}")) for name, table in nodes.items()),
        tuple(_vm(name, table, tuple(vms), f"{file}: vms.{name}") for name, table in vms.items()),
        tuple(GroupLayout(name, **_typed(t, _GROUP, f"{file}: groups.{name}")) for name, t in groups.items()),
    )
    for vm in layout.vms:
        for group in vm.groups:
            if group not in groups:
                there = sorted(groups)
                raise ScenarioError(f"{file}: vms.{vm.name}.groups: there is no group {group!r}; there are {there}")
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
    for group in layout.groups:
        lines += ["", f"[groups.{group.name}]"]
        lines += [f"{key} = {_toml(getattr(group, key))}" for key in _GROUP]
    for vm in layout.vms:
        lines += ["", f"[vms.{vm.name}]"]
        lines += [f"{key} = {_toml(getattr(vm, key))}" for key in _VM]
        names = [v.name for v in layout.vms]
        lines += [f"ha.{key} = {value}" for key, value in _ha_lines(vm.ha, names)]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _node(name: str, values: dict[str, Any]) -> NodeLayout:
    node = NodeLayout(name, **values)
    return replace(node, watchdog_seconds=node.watchdog_seconds or None)


def _vm(name: str, table: dict[str, Any], names: tuple[str, ...], where: str) -> VmLayout:
    plain = {key: value for key, value in table.items() if key != "ha"}
    return VmLayout(name, **_typed(plain, _VM, where), ha=_ha(table.get("ha", {}), names, f"{where}.ha"))


def _ha(table: object, names: tuple[str, ...], where: str) -> HaPolicy:
    """The policy out of `ha.KEY = VALUE` lines; `waits_for` names VMs."""
    if not isinstance(table, dict):
        raise ScenarioError(f"{where}: must be a table, like ha.on_crash = 'stop'")
    kinds = get_type_hints(HaPolicy)
    plain = {key: kind for key, kind in kinds.items() if kind in (float, bool)}
    values = _typed({k: v for k, v in table.items() if k in plain or k not in kinds}, plain, where)
    for key, value in table.items():
        if key == "waits_for":
            unknown = [v for v in value if v not in names] if isinstance(value, list) else [value]
            if unknown:
                raise ScenarioError(f"{where}.waits_for: {unknown} are no VMs; there are {', '.join(names)}")
            values[key] = tuple(names.index(v) + 1 for v in value)
        elif key not in plain:
            known = [word.value for word in kinds[key]]
            if value not in known:
                raise ScenarioError(f"{where}.{key}: {value!r} must be one of {', '.join(known)}")
            values[key] = kinds[key](value)
    return HaPolicy(**values)


def _ha_lines(ha: HaPolicy, names: list[str]) -> list[tuple[str, str]]:
    """What is not the default, as `_ha` reads it."""
    lines = []
    for name in (f.name for f in fields(HaPolicy)):
        value = getattr(ha, name)
        if value == getattr(HaPolicy(), name):
            continue
        if name == "waits_for":
            lines.append((name, repr([names[i - 1] for i in value])))
        else:
            lines.append((name, _toml(value.value if isinstance(value, StrEnum) else value)))
    return lines


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
        if kind is list and not all(isinstance(one, str) for one in value):
            raise ScenarioError(f"{where}.{key}: {value!r} must be {_KINDS[kind]}")
        if key in _WORDS and value not in set(_WORDS[key]):
            there = ", ".join(_WORDS[key])
            raise ScenarioError(f"{where}.{key}: {value!r} is no {key}; there are {there}")
    return {k: _WORDS[k](v) if k in _WORDS else tuple(v) if isinstance(v, list) else v for k, v in table.items()}


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ScenarioError(f"{file}: {error.strerror}; a scenario has cluster.toml and script.txt") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{file}: {error}") from error
