"""What the lab needs of the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# program -> Debian package
_PROGRAMS = {
    "corosync": "corosync",
    "mariadbd": "mariadb-server",
    "mariadb": "mariadb-client",
    "mariadb-install-db": "mariadb-server",
    "rsync": "rsync",
    "libvirtd": "libvirt-daemon",
    "virsh": "libvirt-clients",
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "ip": "iproute2",
    "nft": "nftables",
    "sysctl": "procps",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
_GALERA = Path("/usr/lib/galera/libgalera_smm.so")


def missing_parts() -> list[str]:
    """Sentences that say what is missing and how to get it; empty when all is there."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    packages = {package for program, package in _PROGRAMS.items() if shutil.which(program, path=path) is None}
    if not _GALERA.exists():
        packages.add("galera-4")
    missing = []
    if os.geteuid() != 0:
        missing.append("root (it makes network namespaces and mounts)")
    if packages:
        missing.append(f"apt-get install --no-install-recommends {' '.join(sorted(packages))}")
    return missing
