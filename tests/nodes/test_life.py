"""What an operator does to a node in its life: drain it, upgrade it, take it out, purge the package."""

from pathlib import Path

import pytest

from tests.nodes.cluster import Cluster, apt_install, build_package, holdfast, take_unit_settings_back
from tests.nodes.repository import package_version
from tests.nodes.traces import traces

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(1200, func_only=True)]
NEWER = "99.0.0"


@pytest.fixture(scope="module")
def newer(cluster: Cluster) -> Path:
    """The same tree as a later version."""
    with cluster.steps.step("a newer package is built"):
        return build_package(cluster.rack.directory / "packages", NEWER)


def test_a_node_is_drained_and_upgraded_and_takes_vms_again(cluster: Cluster, newer: Path) -> None:
    """Its VMs move away alive; the others run an older version meanwhile."""
    cluster.load()
    machine = cluster.machines[-1]
    vms = cluster.create_on(machine.name, ["d", "e"])
    with cluster.steps.step(f"{machine.name} is drained"):
        holdfast(machine, f"node drain {machine.name} --wait --token {cluster.admin_token}")
    assert cluster.on(machine.name) == {}
    assert machine.ssh("virsh list --name").split() == []
    cluster.writes_on(vms, migrated=vms)
    cluster.repository.add(newer)
    with cluster.steps.step(f"{machine.name} is upgraded"):
        cluster.repository.teach(machine)
        apt_install(machine, "holdfast")
        assert machine.ssh("dpkg-query -W -f '${Version}' holdfast") == package_version(newer)
        cluster.cloud.wait(cluster.is_whole, "the upgraded node to be well", 120)
    said = machine.ssh("holdfast cluster doctor", check=False)
    assert "versions: nodes have different versions" in said
    holdfast(machine, f"node return {machine.name} --token {cluster.admin_token}")
    cluster.writes_on(cluster.create_on(machine.name, ["f"]))
    cluster.prove(vms)


def test_a_purge_leaves_nothing_behind(cluster: Cluster) -> None:
    """A node leaves its cluster, then apt purges the package: no file, no unit, no user, no socket is left."""
    cluster.load()
    machine = cluster.machines[-1]
    assert len(traces(machine)) > 20
    take_unit_settings_back(machine)
    with cluster.steps.step(f"{machine.name} leaves and is purged"):
        holdfast(machine, "cluster leave")
        machine.ssh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -q holdfast", timeout_seconds=300)
    assert traces(machine) == []
    assert set(cluster.cloud.nodes()) == {m.name for m in cluster.machines[:-1]}
