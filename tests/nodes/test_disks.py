"""What pools on shared disks will need works on the nodes: one SCSI disk for all, kernel iSCSI, device-mapper."""

import uuid
from collections.abc import Iterator

import pytest

from tests.nodes.image import NodeImage
from tests.nodes.machine import Machine
from tests.nodes.rack import Rack
from tests.nodes.shared import IQN, SERVER, IscsiTarget, ScsiDisk
from tests.nodes.steps import Steps

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600, func_only=True)]
LUN = ScsiDisk.DEVICE


Pair = tuple[Machine, Machine]


@pytest.fixture(scope="module")
def pair(rack: Rack, image: NodeImage, steps: Steps) -> Iterator[Pair]:
    """Two machines with one disk in common, and nothing of the product on them."""
    one, other = (Machine(rack, image, number) for number in (5, 6))
    try:
        with steps.step("two machines with a shared disk boot"):
            for machine in (one, other):
                machine.extra = ScsiDisk(rack).qemu()
                machine.power_on()
            for machine in (one, other):
                machine.wait_for_ssh()
        yield one, other
    finally:
        one.power_off()
        other.power_off()


def write(machine: Machine, device: str, text: str) -> None:
    """Past all caches, into the first sector."""
    machine.ssh(f"printf %-511s '{text}' | dd of={device} bs=512 count=1 oflag=direct conv=sync,fsync status=none")


def read(machine: Machine, device: str) -> str:
    """Past all caches, out of the first sector."""
    text = machine.ssh(f"dd if={device} bs=512 count=1 iflag=direct status=none | tr -d '\\000'")
    return text.strip()


def test_all_nodes_see_one_shared_disk(pair: Pair) -> None:
    """What one writes the others read."""
    for machine in pair:
        text = f"{machine.name} {uuid.uuid4()}"
        write(machine, LUN, text)
        assert [read(reader, LUN) for reader in pair] == [text] * len(pair)


def test_device_mapper_makes_devices_on_it(pair: Pair) -> None:
    """LVM's volumes are device-mapper's: made on one node, and after activation there on another."""
    one, other = pair
    one.ssh(f"pvcreate -qq -y {LUN} && vgcreate -qq vgtest {LUN} && lvcreate -qq -y -n lv -L 8m vgtest")
    text = str(uuid.uuid4())
    write(one, "/dev/vgtest/lv", text)
    one.ssh("vgchange -qq -an vgtest")
    other.ssh("vgchange -qq -ay vgtest")
    assert read(other, "/dev/vgtest/lv") == text
    assert other.ssh("dmsetup info -c --noheadings -o name vgtest-lv").strip() == "vgtest-lv"
    other.ssh("vgremove -qq -y vgtest && pvremove -qq -y " + LUN)


def test_the_kernels_iscsi_initiator_logs_in(rack: Rack, pair: Pair) -> None:
    """Two nodes, one target: open-iscsi finds it, logs in, and both see the same disk."""
    IscsiTarget(rack)
    device = f"/dev/disk/by-path/ip-{SERVER}:3260-iscsi-{IQN}-lun-1"
    for machine in pair:
        machine.ssh("systemctl start iscsid")
        machine.ssh(f"iscsiadm -m discovery -t sendtargets -p {SERVER} && iscsiadm -m node -T {IQN} --login")
        machine.ssh(f"udevadm settle --timeout=30 --exit-if-exists={device} && test -b {device}")
    text = str(uuid.uuid4())
    write(pair[0], device, text)
    assert read(pair[1], device) == text
    for machine in pair:
        machine.ssh(f"iscsiadm -m node -T {IQN} --logout && iscsiadm -m node -T {IQN} -o delete")
