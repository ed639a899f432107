"""DomainSpec to libvirt's XML. Pure but for the look whether a disk's file system takes O_DIRECT."""

import os
from dataclasses import dataclass

from lxml import etree

from app.adapters.libvirt import devices
from app.adapters.libvirt.devices import DiskCache
from app.adapters.libvirt.identity import Identity, domain_name, domain_uuid, metadata_element
from app.ports.hypervisor import DomainSpec, HypervisorError

_CPU_MODES = ("host-model", "host-passthrough", "maximum")


@dataclass(frozen=True, slots=True)
class HostChoices:
    """What is the same for all domains of this node. `cpu`: a mode, a model, or empty for the machine's own.

    `labels_files`: libvirt changes the owner of disks that are files.
    """

    domain_type: str
    cpu: str
    console_dir: str
    disk_cache: DiskCache = "auto"
    machine: str = "pc"
    labels_files: bool = True


def build_domain(spec: DomainSpec, host: HostChoices) -> str:
    """The document for `virDomainDefineXML`. HypervisorError when the spec cannot be expressed."""
    domain = etree.Element("domain", type=host.domain_type)
    _text(domain, "name", domain_name(spec.vm_id))
    _text(domain, "uuid", domain_uuid(spec.vm_id))
    try:
        _text(domain, "title", spec.name)
        metadata = etree.SubElement(domain, "metadata")
        identity = Identity(spec.vm_id, spec.generation)
        metadata.append(metadata_element(identity, spec.node, spec.labels, spec.correlation_id))
        _text(domain, "memory", str(spec.memory_mib)).set("unit", "MiB")
        _text(domain, "vcpu", str(spec.cores)).set("placement", "static")
        domain.append(_sysinfo(spec))
        domain.append(_boot(spec, host))
        domain.append(_features())
        _cpu(domain, host.cpu)
        etree.SubElement(domain, "clock", offset="utc")
        _life_cycle(domain)
        domain.append(_devices(spec, host))
    except ValueError as error:  # lxml: control characters; devices: an unknown kind
        raise HypervisorError(f"VM {spec.vm_id} cannot be defined: {error}") from error
    return etree.tostring(domain, encoding="unicode", pretty_print=True)


def console_log(spec: DomainSpec, console_dir: str) -> str:
    """Where the console of this VM is logged; empty when the node keeps no such logs."""
    if spec.console_log or not console_dir:
        return spec.console_log
    return os.path.join(console_dir, f"{domain_name(spec.vm_id)}.log")


def _text(parent: etree._Element, tag: str, text: str) -> etree._Element:
    element = etree.SubElement(parent, tag)
    element.text = text
    return element


def _sysinfo(spec: DomainSpec) -> etree._Element:
    """SMBIOS OEM strings: the guest can read which copy it is without any network."""
    sysinfo = etree.Element("sysinfo", type="smbios")
    strings = etree.SubElement(sysinfo, "oemStrings")
    for key, value in (("vm", spec.vm_id), ("generation", spec.generation), ("node", spec.node)):
        _text(strings, "entry", f"holdfast.{key}={value}")
    return sysinfo


def _boot(spec: DomainSpec, host: HostChoices) -> etree._Element:
    boot = etree.Element("os")
    _text(boot, "type", "hvm").set("machine", host.machine)
    for tag, value in (("kernel", spec.kernel), ("initrd", spec.initrd), ("cmdline", spec.cmdline)):
        if spec.kernel and value:
            _text(boot, tag, value)
    etree.SubElement(boot, "boot", dev="hd")
    etree.SubElement(boot, "smbios", mode="sysinfo")
    return boot


def _features() -> etree._Element:
    features = etree.Element("features")
    etree.SubElement(features, "acpi")
    etree.SubElement(features, "apic")
    return features


def _cpu(domain: etree._Element, cpu: str) -> None:
    if cpu in _CPU_MODES:
        etree.SubElement(domain, "cpu", mode=cpu)
    elif cpu:
        element = etree.SubElement(domain, "cpu", mode="custom", match="exact")
        _text(element, "model", cpu).set("fallback", "forbid")


def _life_cycle(domain: etree._Element) -> None:
    """A guest that powers off stays off, one that panics stands still, so that both can be read from the state.

    Whether it starts again is the agent's decision alone.
    """
    _text(domain, "on_poweroff", "destroy")
    _text(domain, "on_reboot", "restart")
    _text(domain, "on_crash", "preserve")
    sleep = etree.SubElement(domain, "pm")
    # A guest asleep in memory would look paused, and nobody would wake it.
    etree.SubElement(sleep, "suspend-to-mem", enabled="no")
    etree.SubElement(sleep, "suspend-to-disk", enabled="no")


def _devices(spec: DomainSpec, host: HostChoices) -> etree._Element:
    if len(spec.disks) > devices.DISKS_MAX:
        raise ValueError(f"{len(spec.disks)} disks, at most {devices.DISKS_MAX} are possible")
    element = etree.Element("devices")
    element.append(devices.no_usb())
    for index, disk in enumerate(spec.disks):
        element.append(devices.disk(disk, index, host.disk_cache, labels_files=host.labels_files))
    for nic in spec.nics:
        if nic.bridge:
            element.append(devices.interface(nic))
    element.append(devices.serial(console_log(spec, host.console_dir)))
    element.append(devices.guest_agent())
    element.append(devices.panic_notifier())
    element.append(devices.guest_watchdog())
    element.append(devices.balloon())
    element.append(devices.random_source())
    return element
