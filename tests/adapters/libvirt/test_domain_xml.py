"""The XML of domains, whole, as files one can read: golden/*.xml.

After a wanted change: HOLDFAST_WRITE_GOLDEN=1 pytest tests/adapters/libvirt/test_domain_xml.py, then read the diff.
"""

import os
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from app.adapters.libvirt import devices
from app.adapters.libvirt.domain_xml import HostChoices, build_domain
from app.adapters.libvirt.drivers import driver_for
from app.adapters.libvirt.event_loop import ensure_event_loop
from app.adapters.libvirt.identity import Identity, domain_uuid, read_metadata
from app.ports.hypervisor import Disk, DomainSpec, HypervisorError, Nic

GOLDEN = Path(__file__).with_name("golden")
SPEC = DomainSpec(17, 3, "n2", "web", 2, 1024, (Disk("file", "/pool/volumes/vm-17-0.qcow2", "qcow2"),))
KVM = HostChoices("kvm", driver_for("kvm").cpu, "/var/log/holdfast/console", "none")
QEMU = HostChoices("qemu", driver_for("qemu").cpu, "", "writeback")
CASES = {
    "kvm-disk-and-nic": (
        replace(SPEC, nics=(Nic("br0", "52:54:00:00:00:11"), Nic("", "52:54:00:00:00:12"))),
        KVM,
    ),
    "qemu-direct-kernel": (
        replace(
            SPEC,
            kernel="/pool/images/g/vmlinuz",
            initrd="/pool/images/g/initrd",
            cmdline="console=ttyS0 quiet <&>",
            console_log="/run/log/c17",
            labels={"b": '"quoted" & <odd>', "a": "ä"},
        ),
        QEMU,
    ),
    "kvm-block-and-network-disks": (
        replace(
            SPEC,
            disks=(
                Disk("block", "/dev/vg0/vm-17-0", "raw"),
                Disk("network", "pool/vm-17-1", "raw", "rbd", (("192.0.2.1", 6789), ("192.0.2.2", 6789))),
            ),
        ),
        replace(KVM, cpu="EPYC-Rome"),
    ),
    "files-are-left-alone": (SPEC, replace(KVM, labels_files=False)),
    "test-driver": (SPEC, replace(QEMU, domain_type="test", cpu=driver_for("test").cpu)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_domain_is_as_the_golden_file_has_it(case: str) -> None:
    xml = build_domain(*CASES[case])
    golden = GOLDEN / f"{case}.xml"
    if os.environ.get("HOLDFAST_WRITE_GOLDEN"):
        golden.write_text(xml)
    assert xml == golden.read_text()


@pytest.mark.parametrize("case", CASES)
def test_libvirt_accepts_it_by_its_schema_and_gives_our_metadata_back(case: str) -> None:
    ensure_event_loop()
    spec, host = CASES[case]
    connection = libvirt.open("test:///default")
    try:
        xml = build_domain(spec, replace(host, domain_type="test"))
        domain = connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        assert domain.UUIDString() == domain_uuid(17)
        assert read_metadata(domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, "urn:holdfast:domain:1")) == Identity(
            17, 3
        )
        domain.undefine()
    finally:
        connection.close()


def test_uuids_differ_by_vm_and_are_the_same_everywhere() -> None:
    assert domain_uuid(17) == "78f50628-02f9-588f-b3b4-73a7f0e1a14d"
    assert len({domain_uuid(n) for n in range(1000)}) == 1000


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, name="a\0b"),
        replace(SPEC, disks=(Disk("tape", "/dev/st0", "raw"),)),
        replace(SPEC, disks=SPEC.disks * 27),
    ],
)
def test_what_cannot_be_expressed_is_an_error_of_the_port(spec: DomainSpec) -> None:
    with pytest.raises(HypervisorError, match="VM 17 cannot be defined"):
        build_domain(spec, QEMU)


@pytest.mark.parametrize("text", ["", "<x/>", "<vm id='a' generation='1'/>", "<vm id='1'/>", "no xml"])
def test_metadata_that_is_not_readable_is_not_ours(text: str) -> None:
    assert read_metadata(text) is None


def test_unknown_domain_types_are_told_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="kvm, qemu, test"):
        driver_for("xen")


def test_the_cache_mode_follows_what_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = tmp_path / "v"
    volume.touch()

    def mode() -> str | None:
        driver = devices.disk(Disk("file", str(volume), "raw"), 0, "auto").find("driver")
        assert driver is not None
        return driver.get("cache")

    real_open = os.open

    def open_without_direct(path: str, flags: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(22, "Invalid argument")
        return real_open(path, flags)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", open_without_direct)
        assert mode() == "writeback"
    volume.unlink()
    assert mode() == "none", "QEMU says itself what is wrong with a missing volume"


def test_the_schema_of_libvirt_has_every_element(tmp_path: Path) -> None:
    """Type kvm and qemu too, which the test driver would not define."""
    schema = etree.RelaxNG(etree.parse("/usr/share/libvirt/schemas/domain.rng"))
    for spec, host in CASES.values():
        document = etree.fromstring(build_domain(spec, host))
        assert schema.validate(document), schema.error_log


def test_the_domain_names_the_request_that_it_follows_from() -> None:
    text = build_domain(replace(SPEC, correlation_id="shop-order-17"), KVM)
    ours = etree.fromstring(text).find("metadata")
    assert ours is not None
    assert ours[0].get("request") == "shop-order-17"
    assert read_metadata(etree.tostring(ours[0], encoding="unicode")) == Identity(17, 3)
