"""Who owns the files that are VMs' disks: the user that QEMU runs as, from the first start on and for good.

libvirt gives such a file to QEMU's user when a domain starts, and to root when it ends. Where nodes share the
directory, the late end of a stale copy so takes the file from the copy that runs elsewhere: an NFS server looks at the
owner with each write. libvirt is told to leave them alone (`relabel='no'`), and they are given here.
"""

import os
from collections.abc import Iterable

import libvirt
import structlog
from lxml import etree

from app.ports.hypervisor import Disk

log = structlog.get_logger(__name__)


class FileOwner:
    """`domain_type` as libvirt names it. Asks libvirt once, until told to `forget`."""

    def __init__(self, domain_type: str) -> None:
        self._domain_type = domain_type
        self._known: tuple[tuple[int, int] | None] | None = None

    def ids(self, connection: libvirt.virConnect) -> tuple[int, int] | None:
        """User and group of the QEMUs that libvirt starts; None where it knows of no such thing (its test driver)."""
        known = self._known
        if known is None:
            known = self._known = (read_ids(connection.getCapabilities(), self._domain_type),)
        return known[0]

    def forget(self) -> None:
        """libvirtd went away: it may come back with another user in its qemu.conf."""
        self._known = None


def read_ids(capabilities: str, domain_type: str) -> tuple[int, int] | None:
    """From `virsh capabilities`: the base label of the security model "dac", `+64055:+108`."""
    for model in etree.fromstring(capabilities).iterfind("host/secmodel"):
        if model.findtext("model") == "dac":
            for label in model.iterfind("baselabel"):
                if label.get("type") == domain_type:
                    user, _, group = (label.text or "").partition(":")
                    return int(user), int(group)
    return None


def give(disks: Iterable[Disk], ids: tuple[int, int]) -> None:
    """Those that are files. One that cannot be given is left as it is: QEMU says whether it can use it."""
    for disk in disks:
        if disk.kind != "file":
            continue
        try:
            if os.stat(disk.path).st_uid != ids[0]:
                os.chown(disk.path, *ids)
        except OSError as error:  # a server that takes root for nobody, as libvirt bears it, too
            log.warning("not given to QEMU's user", path=disk.path, user=ids[0], error=str(error))
