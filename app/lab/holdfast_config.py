"""The product's configuration file for a lab node (read by app/config.py, which owns the meaning)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from app.adapters.cluster_files.toml_text import to_toml
from app.lab import galera, network
from app.lab.errors import LabError
from app.lab.paths import API_SOCKET_IN_NODE, POOL_IN_NODE, WATCHDOG_IN_NODE, LabPaths
from app.lab.state import LabState, NodeState


def text(paths: LabPaths, lab: LabState, node: NodeState, overrides: Mapping[str, Mapping[str, Any]]) -> str:
    """`overrides`: table -> settings laid over the lab's own, e.g. {"recovery": {"starts_per_node_max": 1}}; of a list
    of tables each by its name, e.g. {"pools": {"shared": {"heartbeat": True}}}. Errors: LabError for an unknown name.
    """
    tables = _tables(paths, lab, node)
    for name, settings in overrides.items():
        known = tables.get(name, {})
        tables[name] = _each(name, known, settings) if isinstance(known, list) else {**known, **settings}
    return to_toml(tables)


def _each(table: str, entries: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    if unknown := settings.keys() - {entry.get("name") for entry in entries}:
        raise LabError(f"[[{table}]] of the lab has no {', '.join(sorted(unknown))}")
    return [{**entry, **settings.get(str(entry.get("name")), {})} for entry in entries]


def _tables(paths: LabPaths, lab: LabState, node: NodeState) -> dict[str, Any]:
    return {
        "node": {
            "name": node.name,
            "id": node.number,
            "address": node.address,
            "role": node.role,
            "rack": node.rack,
            "memory_mib": node.memory_mib,
            "cores": node.cores,
        },
        "database": {"urls": galera.urls(node, lab.nodes, lab.database_password)},
        "membership": {
            "driver": "corosync",
            "members": [{"id": other.number, "name": other.name} for other in lab.nodes],
        },
        "libvirt": {"uri": "qemu:///system", "domain_type": "qemu"},
        # plain, for nothing but this lab's nodes is in their network; unsafe, for libvirt cannot know what they share
        "migration": {"uri": "qemu+tcp://{address}/system", "tls": False, "unsafe": True},
        "watchdog": {"path": WATCHDOG_IN_NODE, "timeout_seconds": lab.watchdog_seconds},
        "recovery": {
            "self_fence_seconds": 5,
            "detection_skew_seconds": 2,
            # a node has one core of this machine at best: the first guest is up sooner, and the last no later
            "starts_per_node_max": 1,
            # one machine plays all nodes: an agent may wait for a core for seconds without being hung
            "agent_silence_seconds": 6,
        },
        "fence_devices": [
            {
                "node": other.name,
                "command": [sys.executable, "-m", "app.lab.fence_agent"],
                "options": {"port": other.name, "labdir": str(paths.directory)},
            }
            for other in lab.nodes
        ],
        "pools": [{"name": "shared", "driver": "file", "shared": True, "options": {"path": POOL_IN_NODE}}],
        "networks": [{"driver": "pickup", "options": _pickup(node)}],
        "api": {
            "listen": "0.0.0.0:8470",
            "socket": API_SOCKET_IN_NODE,
            # the lab's systemd starts it again, and starts by itself what is gone
            "end_agent": [sys.executable, "-m", "app.lab.end_agent", str(paths.directory), node.name],
            "start_agent": [],
        },
        "webhooks": {"allow_private_targets": True},
    }


def _pickup(node: NodeState) -> dict[str, Any]:
    return {
        "target": network.STORAGE_SERVICE_ADDRESS,
        "source": node.service_address,
        "paths": [
            {"name": link, "interface": link, "gateway": gateway, "metric": metric}
            for link, gateway, metric in network.storage_paths()
        ],
        "failback_seconds": 3,
    }
