"""`holdfast cluster doctor` on real nodes: a fault is planted in the system itself, and is named."""

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.nodes.cluster import CONFIG, Cluster
from tests.nodes.machine import Machine, until
from tests.nodes.shared import POOL

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900, func_only=True)]


@dataclass(frozen=True)
class Fault:
    """`plant` is run on node number `on`; the doctor on node1 then says `words` under `check`."""

    check: str
    words: str
    plant: str
    on: int = 1


_SET_CLOCK = 'systemctl stop chrony && date -s "$(date -Ins)"'
_OLD_CERTIFICATE = (
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -days 7 -keyout /dev/null -out /etc/holdfast/pki/node.pem"
)
_FULL = "mount -t tmpfs -o size=1m tmpfs /var/lib/holdfast && head -c 1040000 /dev/zero > /var/lib/holdfast/full"
_DISARMED = "mariadb holdfast -e \"UPDATE settings SET armed=0, disarmed_by='ann', disarmed_at='2026-01-01 00:00:00'\""
_FENCE = (
    'printf \'\\n[[fence_devices]]\\nnode = "node2"\\ncommand = ["fence_ipmilan"]\\n'
    'options = { ip = "10.77.0.250", username = "x", password = "x", lanplus = "1" }\\n\' >> ' + CONFIG
)
#: faults that do not hide each other are planted together: a look takes long under software emulation
GROUPS = {
    "in the system": (
        Fault("kernel-panic", "kernel.panic is 0", "sysctl -q kernel.panic=0"),
        Fault("secrets", "ca.key can be read by everybody", "chmod o+r /etc/holdfast/pki/ca.key"),
        Fault("clock", "not synchronized", _SET_CLOCK),
        Fault("disk-space", "/var/lib/holdfast has", _FULL),
        Fault("certificates", "node.pem ends in", _OLD_CERTIFICATE),
        Fault("kvm", "/dev/kvm is not there", "rmmod kvm_amd"),
        Fault("disarmed", "disarmed by ann", _DISARMED),
    ),
    "in what the configuration names": (
        Fault("watchdog", "/dev/watchdog7 is not there", f"sed -i 's:/dev/watchdog[0-9]*:/dev/watchdog7:' {CONFIG}"),
        Fault("fence-devices", "the fence device of node2", _FENCE),
        Fault("pools", "is it mounted?", f"umount -l {POOL}"),
    ),
    "in the configuration": (Fault("config", "no_such_key", f"sed -i '1i no_such_key = 1' {CONFIG}"),),
    "in services and network": (
        Fault("services", "holdfast-api does not run", "systemctl stop holdfast-api"),
        Fault("ports", "node2:8470 cannot be reached", "systemctl stop holdfast-api", on=2),
        Fault("links", "node2 at 10.77.0.12 does not answer", "sysctl -q net.ipv4.icmp_echo_ignore_all=1", on=2),
        Fault("mtu", "node3 at 10.77.1.13 loses packets", "ip link set eth1 mtu 9000"),
        Fault("database", "2 of 3 members", "systemctl stop mariadb", on=3),
        Fault("libvirt", "libvirt does not answer", "systemctl stop libvirtd.service 'libvirtd*.socket'"),
    ),
    "in the membership": (Fault("members", "node3 is not in Corosync's membership", "systemctl stop corosync", on=3),),
}  # fmt: skip


def doctor(machine: Machine) -> list[dict[str, Any]]:
    """What it finds."""
    return list(json.loads(machine.ssh("holdfast cluster doctor --json", check=False, timeout_seconds=180)))


def synchronized(machine: Machine) -> bool:
    """Its clock, which a restore has set, is chrony's again."""
    return machine.ssh("timedatectl show -p NTPSynchronized --value").strip() == "yes"


def test_a_healthy_cluster_has_nothing_to_complain_about(cluster: Cluster) -> None:
    """Else the findings below would say nothing."""
    cluster.load()
    cluster.each(lambda machine: until(partial(synchronized, machine), f"{machine.name}'s clock", 120))
    with cluster.steps.step("holdfast cluster doctor"):
        assert doctor(cluster.machines[0]) == []


@pytest.mark.parametrize("where", GROUPS)
def test_planted(cluster: Cluster, where: str) -> None:
    """Each fault of the group is found."""
    cluster.load()
    faults = GROUPS[where]
    for fault in faults:
        cluster.machines[fault.on - 1].ssh(fault.plant)
    with cluster.steps.step(f"{len(faults)} faults {where}: planted and found"):
        found = doctor(cluster.machines[0])
    for fault in faults:
        said = [f for f in found if f["check"] == fault.check]
        assert any(fault.words in f["wrong"] for f in said), (fault, found)
        assert all(f["fix"] for f in said)


def test_there_are_enough_of_them() -> None:
    """The promise is fifteen."""
    assert len({fault.check for faults in GROUPS.values() for fault in faults}) >= 15
