"""The main job on real nodes: installed by apt, six VMs, one node dies, its VMs run on the others, it comes back."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.nodes.cluster import CLOUD_IMAGE, Cluster, first_times
from tests.nodes.machine import Machine

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


def test_a_node_that_comes_back_cleans_itself_and_hosts_again(cluster: Cluster, death: Death) -> None:
    """It has forgotten its VMs, and is one of the cluster again, without a word of an operator."""
    machine = death.machine
    with cluster.steps.step(f"{machine.name} boots again and is whole"):
        machine.power_on()
        machine.wait_for_ssh()
        cluster.cloud.wait(cluster.is_whole, f"{machine.name} to be back", 180)
    assert machine.ssh("virsh list --all --name").split() == []
    row = cluster.cloud.nodes()[machine.name]
    assert not row["maintenance"]
