"""The main job on real nodes, each test a chapter that begins where the one before it ended.

Installed by apt, six VMs; one node dies and its VMs run on the others; it comes back, is drained and upgraded and takes
VMs again; it leaves its cluster and the package is purged.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.cluster import CLOUD_IMAGE, Cluster, apt_install, first_times, holdfast, take_unit_settings_back
from tests.nodes.machine import Machine
from tests.nodes.repository import package_version
from tests.nodes.traces import traces

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(1800, func_only=True)]
#: the watchdog's 10 s and a detection skew of 2 s: no sooner is time a proof
WATCHDOG_PROOF_SECONDS = 12


@dataclass(frozen=True)
class Death:
    """`lost`: generation by id of the VMs that ran there. `incident` is closed."""

    machine: Machine
    lost: dict[int, int]
    incident: dict[str, Any]


@pytest.fixture(scope="module")
def six(cluster: Cluster) -> dict[int, str]:
    """Name by id."""
    with cluster.steps.step("six VMs verified up"):
        return cluster.create([f"vm{n}" for n in range(1, 7)])


@pytest.fixture(scope="module")
def death(cluster: Cluster, six: dict[int, str]) -> Death:
    """The power of the node with most VMs is cut; all of them are verified elsewhere."""
    victim = cluster.fullest()
    lost = cluster.on(victim)
    cut_at = datetime.now(UTC)
    cluster.machine(victim).power_off()
    incident = cluster.recovered(victim, lost)
    for what, came_at in first_times(incident).items():
        cluster.steps.add(f"after {victim}'s power was cut: {what}", (came_at - cut_at).total_seconds())
    return Death(cluster.machine(victim), lost, incident)


def test_the_guide_ends_with_a_healthy_cluster_and_a_vm(cluster: Cluster) -> None:
    """docs/install.md was followed line by line: every command ended well."""
    assert cluster.printed["node3", "holdfast cluster status"]
    assert "hello" in cluster.printed["node1", f"cp {CLOUD_IMAGE} /srv/holdfast/shared/images/"]


def test_the_vms_of_a_node_that_died_run_on_the_others(cluster: Cluster, six: dict[int, str], death: Death) -> None:
    """Its controller reads off, or, where an emulated fence agent is slower than that, its watchdog's time has passed.

    The guests' disks prove the rest.
    """
    assert len(death.lost) >= 2
    came = first_times(death.incident)
    waited = (came["fenced"] - came["detected"]).total_seconds()
    method = death.incident["proof"]["method"]
    assert method == "power" or (method == "watchdog" and waited >= WATCHDOG_PROOF_SECONDS), (method, waited)
    cluster.writes_on(six)
    cluster.prove(six)


@pytest.fixture(scope="module")
def moved(cluster: Cluster, six: dict[int, str], death: Death) -> dict[int, int]:
    """`death.lost`, which now run elsewhere. The others, of which its node never had a copy, are deleted.

    Six nested guests on two nodes beside a third that boots use up the host's two cores.
    """
    cluster.delete(six.keys() - death.lost.keys())
    return death.lost


def test_a_node_that_comes_back_cleans_itself_and_hosts_again(
    cluster: Cluster, death: Death, moved: dict[int, int]
) -> None:
    """It has forgotten its VMs, and is one of the cluster again, without a word of an operator."""
    machine = death.machine
    with cluster.steps.step(f"{machine.name} boots again and is whole"):
        machine.power_on()
        machine.wait_for_ssh()
        cluster.cloud.wait(cluster.is_whole, f"{machine.name} to be back", 180)
    assert machine.ssh("virsh list --all --name").split() == []
    row = cluster.cloud.nodes()[machine.name]
    assert not row["maintenance"]
    cluster.writes_on(moved)
    cluster.prove(moved)


def test_it_is_drained_and_upgraded_and_takes_vms_again(
    cluster: Cluster, moved: dict[int, int], death: Death, newer: Path
) -> None:
    """Its VMs move away alive, to where others run; the others run an older version meanwhile."""
    machine = death.machine
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
    cluster.prove([*vms, *moved])


def test_it_leaves_and_a_purge_leaves_nothing_behind(cluster: Cluster, death: Death, newer: Path) -> None:
    """Drained, taken out of its cluster and purged: no file, no unit, no user, no socket is left."""
    machine = death.machine
    assert package_version(newer) == machine.ssh("dpkg-query -W -f '${Version}' holdfast")
    with cluster.steps.step(f"{machine.name} is drained for good"):
        holdfast(machine, f"node drain {machine.name} --wait --token {cluster.admin_token}")
    assert len(traces(machine)) > 20
    take_unit_settings_back(machine)
    with cluster.steps.step(f"{machine.name} leaves and is purged"):
        holdfast(machine, "cluster leave")
        machine.ssh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -q holdfast", timeout_seconds=300)
    assert traces(machine) == []
    assert set(cluster.cloud.nodes()) == {m.name for m in cluster.machines} - {machine.name}
    left = [int(vm["id"]) for vm in cluster.cloud.vms()]
    cluster.writes_on(left, migrated=left)
    cluster.prove(left)
