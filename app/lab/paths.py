"""Where a lab keeps its things on the host. Nothing else in the lab builds these paths by hand."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/var/lib/holdfast-lab")
CACHE = Path("/var/cache/holdfast-lab")

# The directories a node sees as its own: path inside the node -> directory below nodes/<node>/.
# /run is emptied at every power-on, as a tmpfs would be.
PRIVATE_DIRECTORIES = {
    "/run": "run",
    "/var/lib/libvirt": "var-lib-libvirt",
    "/var/lib/corosync": "var-lib-corosync",
    "/var/lib/mysql": "var-lib-mysql",
    "/var/lib/holdfast": "var-lib-holdfast",
    "/var/log/libvirt": "var-log-libvirt",
    "/var/log/corosync": "var-log-corosync",
    "/var/log/holdfast": "var-log-holdfast",
    "/var/cache/libvirt": "var-cache-libvirt",
    "/etc/corosync": "etc-corosync",
    "/etc/libvirt": "etc-libvirt",
    "/etc/holdfast": "etc-holdfast",
}
POOL_IN_NODE = "/srv/holdfast/pool"
WATCHDOG_IN_NODE = "/run/holdfast/watchdog"
API_SOCKET_IN_NODE = "/run/holdfast/api.sock"
CONFIG_IN_NODE = "/etc/holdfast/holdfast.toml"


@dataclass(frozen=True)
class NodePaths:
    """One node's directory on the host."""

    directory: Path

    @property
    def units(self) -> Path:
        return self.directory / "units"

    @property
    def unit_states(self) -> Path:
        return self.directory / "unit-states"

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def power(self) -> Path:
        return self.directory / "power.json"

    @property
    def power_lock(self) -> Path:
        return self.directory / "power.lock"

    @property
    def hosts(self) -> Path:
        return self.directory / "hosts"

    @property
    def boot_id(self) -> Path:
        return self.directory / "boot_id"

    def inside(self, path: str) -> Path:
        """The host's path of an absolute path in the node. Errors: ValueError when it is not private."""
        for target, name in PRIVATE_DIRECTORIES.items():
            if path == target or path.startswith(target + os.sep):
                return self.directory / name / path[len(target) :].lstrip(os.sep)
        raise ValueError(f"{path} is not private to a lab node; private are {sorted(PRIVATE_DIRECTORIES)}")


@dataclass(frozen=True)
class LabPaths:
    """A lab's directory on the host."""

    directory: Path

    @property
    def state(self) -> Path:
        return self.directory / "lab.json"

    @property
    def events(self) -> Path:
        return self.directory / "events.jsonl"

    @property
    def pool(self) -> Path:
        return self.directory / "pool"

    @property
    def host(self) -> Path:
        """Logs and pid files of the lab's processes that are not part of a node."""
        return self.directory / "host"

    @property
    def fence(self) -> Path:
        return self.directory / "fence"

    def node(self, node: str) -> NodePaths:
        return NodePaths(self.directory / "nodes" / node)
