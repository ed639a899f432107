"""The main job on real nodes: installed by apt, six VMs, one node dies, its VMs run on the others, it comes back."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.nodes.cluster import CLOUD_IMAGE, Cluster
from tests.nodes.machine import Machine

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(1800)]


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
    for what, seconds in _milestones(incident, cut_at):
        cluster.steps.add(f"after {victim}'s power was cut: {what}", seconds)
    return Death(cluster.machine(victim), lost, incident)


def _milestones(incident: dict[str, Any], cut_at: datetime) -> Iterable[tuple[str, float]]:
    """When each kind of step came first, and when all was well."""
    first: dict[str, float] = {}
    for step in incident["steps"]:
        seconds = (datetime.fromisoformat(step["at"]) - cut_at).total_seconds()
        first.setdefault(step["what"], seconds)
        last = seconds
    return [*first.items(), ("all is done", last)]


def test_the_guide_ends_with_a_healthy_cluster_and_a_vm(cluster: Cluster) -> None:
    """docs/install.md was followed line by line: every command ended well."""
    assert cluster.printed["node3", "holdfast cluster status"]
    assert "hello" in cluster.printed["node1", f"cp {CLOUD_IMAGE} /srv/holdfast/shared/images/"]


def test_the_vms_of_a_node_that_died_run_on_the_others(cluster: Cluster, six: dict[int, str], death: Death) -> None:
    """Its controller reads off, or its watchdog's time has passed: under emulation a fence agent is not faster.

    The guests' disks prove the rest.
    """
    assert len(death.lost) >= 2
    assert death.incident["proof"]["method"] in ("power", "watchdog")
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
