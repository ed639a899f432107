"""/etc/holdfast/holdfast.toml of a node: what the layout says in it, and what is the operator's."""

from collections.abc import Mapping
from typing import Any

from app.adapters.cluster_files.toml_text import to_toml
from app.domain.layout import Member

WATCHDOG_SECONDS = 10
HEADER = "# Made by `holdfast cluster init` or `join`; yours from then on, upgrades never touch it.\n\n"


def node_config(node: Member, watchdog: str, shared: Mapping[str, Any] | None = None) -> str:
    """`watchdog`: the device, empty for none. `shared`: sections that all nodes share (pools, fence devices), as the
    node that was joined has them; they win over the defaults here. Members and database come from layout.json.
    """
    tables: dict[str, Any] = {
        "node": {
            "name": node.name,
            "id": node.id,
            "address": node.addresses[0],
            "role": node.role.value,
            "reboot_by_agent": True,
            "upgrade_by_agent": True,
        },
        "libvirt": {"uri": "qemu:///system", "domain_type": "kvm"},
    }
    if watchdog:
        tables["watchdog"] = {"path": watchdog, "timeout_seconds": WATCHDOG_SECONDS}
    tables["api"] = {"listen": "0.0.0.0:8470", "socket": "/run/holdfast/api.sock"}
    return HEADER + to_toml({**tables, **(shared or {})})
