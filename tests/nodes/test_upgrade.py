"""A whole cluster gets a new version by one command, under systemd and apt, while its VMs run."""

from pathlib import Path

import pytest

from tests.nodes.cluster import Cluster
from tests.nodes.repository import package_version

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(2400, func_only=True)]
#: three nodes, one after the other, each drained and upgraded by one emulated core
UPGRADE_SECONDS = 1800


def test_one_command_upgrades_every_node_and_no_vm_ends(cluster: Cluster, newer: Path) -> None:
    """The command is given on node1, whose own API and agent are upgraded by it like the others'."""
    cluster.load()
    cluster.repository.add(newer)
    cluster.each(cluster.repository.teach)
    version = package_version(newer)
    vms = cluster.create(["f", "g"])
    born = {int(vm["id"]): int(vm["generation"]) for vm in cluster.cloud.vms()}
    first = cluster.machines[0]
    with cluster.steps.step("holdfast cluster upgrade: three nodes"):
        said = first.ssh(
            f"holdfast cluster upgrade {version.partition('+')[0]} --token {cluster.admin_token}",
            timeout_seconds=UPGRADE_SECONDS,
        )
    assert "every node runs it" in said
    for machine in cluster.machines:
        assert machine.ssh("dpkg-query -W -f '${Version}' holdfast") == version
    cluster.cloud.wait(cluster.is_whole, "the upgraded cluster to be whole", 180)
    cluster.writes_on(vms, migrated=vms)
    cluster.prove(vms)
    for vm in vms:
        assert {run.generation for run in cluster.disk(vm).runs} == {born[vm]}, f"VM {vm} was started anew"
