"""libvirtd in the lab: one stock daemon per node with its own directories, no privileges games, no cgroups."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from pathlib import Path

from app.lab.paths import NodePaths

# --listen: live migration is from daemon to daemon; plain TCP, for nothing but this lab's nodes is in their network
ARGV = ("libvirtd", "--listen", "--config", "/etc/libvirt/libvirtd.conf", "--pid-file", "/run/libvirt/libvirtd.pid")
_LIBVIRTD = """listen_tls = 0
listen_tcp = 1
auth_tcp = "none"
unix_sock_group = "root"
unix_sock_rw_perms = "0700"
auth_unix_rw = "none"
auth_unix_ro = "none"
host_uuid = "{host_uuid}"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
_QEMU = """user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""


def prepare(node: NodePaths, capabilities: Path) -> None:
    """Write the node's /etc/libvirt; copy the cached QEMU capabilities in, if there are any (probing takes 5-8 s)."""
    etc = node.inside("/etc/libvirt")
    (etc / "qemu").mkdir(parents=True, exist_ok=True)
    (etc / "libvirtd.conf").write_text(_LIBVIRTD.format(host_uuid=uuid.uuid4()))
    (etc / "qemu.conf").write_text(_QEMU)
    (etc / "libvirt.conf").write_text("")
    if capabilities.is_dir():
        shutil.copytree(capabilities, node.inside("/var/cache/libvirt"), dirs_exist_ok=True)


def uri(node: NodePaths) -> str:
    """To connect from the host."""
    return f"qemu+unix:///system?socket={node.inside('/run/libvirt/libvirt-sock')}"


def answers(node: NodePaths) -> bool:
    """True when a full connection works, which includes the QEMU driver with its capabilities."""
    if not node.inside("/run/libvirt/libvirt-sock").exists():
        return False
    done = subprocess.run(
        ["virsh", "-q", "-c", uri(node), "domcapabilities", "--virttype", "qemu"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0


def keep_capabilities(node: NodePaths, capabilities: Path) -> None:
    """Save what this node's daemon found out about QEMU for the next nodes and labs."""
    temporary = capabilities.with_name(f"{capabilities.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(node.inside("/var/cache/libvirt"), temporary)
    shutil.rmtree(capabilities, ignore_errors=True)
    temporary.rename(capabilities)
