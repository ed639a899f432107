"""One function per device of a domain. Each returns the element that goes under `<devices>`.

Format: https://libvirt.org/formatdomain.html
"""

import os
from typing import Literal

from lxml import etree

from app.ports.hypervisor import Disk, Nic

DiskCache = Literal["auto", "none", "directsync", "writeback", "writethrough"]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
DISKS_MAX = len(_LETTERS)


def disk(source: Disk, index: int, cache: DiskCache, *, labels_files: bool = True) -> etree._Element:
    """A virtio disk, `vda` for index 0. `labels_files`: libvirt changes the owner of files; else see `file_owner`.

    No `<shareable/>`: QEMU's image lock stays on and refuses a second writer. `error_policy=stop`: an I/O
    error pauses the VM instead of showing the guest a broken disk. Guest discards reach the storage.
    """
    element = etree.Element("disk", type=source.kind, device="disk")
    mode = _cache_for(source, cache)
    driver = etree.SubElement(element, "driver", name="qemu", type=source.format, cache=mode)
    driver.set("error_policy", "stop")
    if source.kind == "block" and mode in ("none", "directsync"):
        # Native AIO needs O_DIRECT, and blocks QEMU's main loop where a file must first be allocated.
        driver.set("io", "native")
    driver.set("discard", "unmap")
    place = _source(source)
    if source.kind == "file" and not labels_files:
        etree.SubElement(place, "seclabel", model="dac", relabel="no")
    element.append(place)
    etree.SubElement(element, "target", dev=f"vd{_LETTERS[index]}", bus="virtio")
    return element


def _source(disk: Disk) -> etree._Element:
    if disk.kind == "file":
        return etree.Element("source", file=disk.path)
    if disk.kind == "block":
        return etree.Element("source", dev=disk.path)
    if disk.kind != "network":
        raise ValueError(f"unknown kind of disk {disk.kind!r}")
    source = etree.Element("source", protocol=disk.protocol, name=disk.path)
    for name, port in disk.hosts:
        etree.SubElement(source, "host", name=name, port=str(port))
    return source


def _cache_for(disk: Disk, wanted: DiskCache) -> str:
    if wanted != "auto":
        return wanted
    if disk.kind == "file" and not direct_io_works(disk.path):
        return "writeback"  # tmpfs and some FUSE file systems; QEMU still honours the guest's flushes
    return "none"


def direct_io_works(path: str) -> bool:
    """True when the file can be opened past the page cache. A file that cannot be opened at all: True.

    (That start then fails with QEMU's own words about the file.)
    """
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError as error:
        return error.errno != 22  # EINVAL: this file system has no O_DIRECT
    return True


def interface(nic: Nic) -> etree._Element:
    """A virtio NIC on a bridge of the host."""
    element = etree.Element("interface", type="bridge")
    etree.SubElement(element, "mac", address=nic.mac)
    etree.SubElement(element, "source", bridge=nic.bridge)
    etree.SubElement(element, "model", type="virtio")
    return element


def serial(log_path: str) -> etree._Element:
    """The first serial port: a pty for `virsh console`, all output also into a log that outlives restarts."""
    element = etree.Element("serial", type="pty")
    if log_path:
        etree.SubElement(element, "log", file=log_path, append="on")
    etree.SubElement(element, "target", port="0")
    return element


def guest_agent() -> etree._Element:
    """The channel on which qemu-guest-agent talks; libvirt chooses the socket's place."""
    element = etree.Element("channel", type="unix")
    etree.SubElement(element, "target", type="virtio", name="org.qemu.guest_agent.0")
    return element


def panic_notifier() -> etree._Element:
    """pvpanic: the guest's kernel tells QEMU that it gave up, before it reboots or halts."""
    return etree.Element("panic", model="isa")


def guest_watchdog() -> etree._Element:
    """A watchdog for the guest to feed. When it does not, the VM is paused: what follows is its policy, not QEMU's."""
    return etree.Element("watchdog", model="i6300esb", action="pause")


def balloon() -> etree._Element:
    """Gives memory back to the host when asked."""
    return etree.Element("memballoon", model="virtio")


def random_source() -> etree._Element:
    """Entropy for the guest: without it a first boot can wait for minutes."""
    element = etree.Element("rng", model="virtio")
    etree.SubElement(element, "backend", model="random").text = "/dev/urandom"
    return element


def no_usb() -> etree._Element:
    """The default USB controller costs wake-ups all the time and nothing here uses it."""
    return etree.Element("controller", type="usb", model="none")
