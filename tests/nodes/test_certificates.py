"""`holdfast cluster renew-certificates` under systemd: others are shown the new one, nothing is restarted."""

import pytest

from tests.nodes.cluster import Cluster, holdfast
from tests.nodes.machine import Machine

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(600, func_only=True)]
CERTIFICATE = "/etc/holdfast/pki/node.pem"
#: what shows the node's certificate to others: the words by which `openssl s_client` reaches it
SERVERS = {"libvirt": "-connect {}:16514", "database": "-starttls mysql -connect {}:3306"}
_SERIAL = "openssl x509 -noout -serial"


def shown(machine: Machine) -> dict[str, str]:
    """The serial number of the certificate that each of them shows."""
    ask = f"openssl s_client {{}} < /dev/null 2> /dev/null | {_SERIAL}"
    return {name: machine.ssh(ask.format(words.format(machine.storage_address))) for name, words in SERVERS.items()}


def started(machine: Machine) -> str:
    """When the units were started that use it."""
    return machine.ssh("systemctl show -p ActiveEnterTimestampMonotonic libvirtd mariadb corosync holdfast-agent")


def test_a_new_certificate_is_shown_by_all_and_nothing_is_restarted(cluster: Cluster) -> None:
    """The old one is lost, which makes the command sign anew at once, and not only when its end is near."""
    cluster.load()
    node = cluster.machines[1]
    old, before = shown(node), started(node)
    assert set(old.values()) == {node.ssh(f"{_SERIAL} -in {CERTIFICATE}")}
    node.ssh(f"rm {CERTIFICATE}")
    with cluster.steps.step("holdfast cluster renew-certificates"):
        holdfast(node, "cluster renew-certificates")
    new = node.ssh(f"{_SERIAL} -in {CERTIFICATE}")
    assert new not in old.values()
    assert set(shown(node).values()) == {new}
    assert started(node) == before
    cluster.cloud.wait(cluster.is_whole, "the cluster with a new certificate", 60)
