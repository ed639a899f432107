"""How a lost node is proven dead, on real kernels and a real watchdog; and that one not quite dead writes nothing.

Each test begins with the formed cluster, as it was saved, and three VMs on one node.
"""

import pytest

from tests.nodes.cluster import FORMED, LIVELY, Cluster, first_times
from tests.nodes.machine import Machine, until
from tests.nodes.resets import Resets

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900, func_only=True)]
WATCHDOG_SECONDS = 10
BARE = "bare"


@pytest.fixture(scope="module")
def bare(cluster: Cluster) -> Cluster:
    """The formed cluster without fence devices, saved as `bare`: there, the watchdog must do."""
    cluster.load()
    with cluster.steps.step("the fence devices are taken away"):
        cluster.each(lambda machine: cluster.configure(machine, {"fence_devices": []}))
        cluster.cloud.wait(cluster.is_whole, "the cluster without fence devices", 180)
    cluster.save(BARE)
    return cluster


@pytest.fixture
def restored(bare: Cluster, request: pytest.FixtureRequest) -> Cluster:
    """Bare, or as its parameter says: FORMED has the guide's fence devices, and a minute until the watchdog's proof."""
    tag = getattr(request, "param", BARE)
    bare.load(tag)
    if tag == FORMED:
        # One at a time: with all three at once, and their fence devices to be read, node1 was lost on the way.
        for machine in bare.machines:
            bare.configure(machine, {"watchdog": {"path": "/dev/watchdog0", "timeout_seconds": 60}})
        bare.cloud.wait(bare.is_whole, "the cluster with slow watchdogs", 180)
    return bare


@pytest.fixture
def victim(restored: Cluster) -> Machine:
    """`node3`, with three VMs that write."""
    machine = restored.machines[-1]
    with restored.steps.step(f"three VMs on {machine.name}"):
        restored.create_on(machine.name, ["a", "b", "c"], LIVELY)
    return machine


def test_softdog_resets_a_node_that_is_cut_off_and_hangs(cluster: Cluster, victim: Machine) -> None:
    """Its agent hangs, so nobody destroys its VMs: the watchdog must. The others wait for it, and not longer."""
    lost = cluster.on(victim.name)
    with Resets(victim, holds=True) as resets, cluster.steps.step("a cut-off node, its agent hung: all VMs elsewhere"):
        victim.ssh("systemctl kill --signal=STOP holdfast-agent")
        for bridge in (0, 1):
            cluster.rack.plug(victim.number, bridge, on=False)
        reset_at = resets.wait(3 * WATCHDOG_SECONDS)
        incident = cluster.recovered(victim.name, lost)
    assert incident["proof"]["method"] == "watchdog"
    assert reset_at < first_times(incident)["fenced"], "the others did not wait for the watchdog"
    cluster.rack.plug_all(victim.number)
    back(cluster, victim)
    cluster.writes_on(lost)
    cluster.prove(lost)


@pytest.mark.parametrize("restored", [FORMED], indirect=True)
def test_a_management_controller_proves_by_power(cluster: Cluster, victim: Machine) -> None:
    """A cut-off node is switched off by its BMC, with `fence_ipmilan`; what is read afterwards is the proof.

    The watchdog's time is a minute here: emulated fence agents are slower than its usual ten seconds.
    """
    lost = cluster.on(victim.name)
    with cluster.steps.step("a cut-off node with a BMC: all VMs elsewhere"):
        cluster.rack.plug(victim.number, 0, on=False)
        cluster.rack.plug(victim.number, 1, on=False)
        incident = cluster.recovered(victim.name, lost)
    assert incident["proof"]["method"] == "power"
    assert not victim.is_on
    cluster.writes_on(lost)
    cluster.prove(lost)


def test_a_panic_ends_in_a_reset(cluster: Cluster, victim: Machine) -> None:
    """softdog stops with the kernel, so the package has the kernel reset itself."""
    lost, booted = cluster.on(victim.name), victim.boot_id
    with Resets(victim, holds=True) as resets, cluster.steps.step("a kernel that panicked: all VMs elsewhere"):
        # Behind the back of ssh, which would wait for an answer.
        victim.ssh("(sleep 2; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &")
        resets.wait(WATCHDOG_SECONDS)
        cluster.recovered(victim.name, lost)
    back(cluster, victim)
    assert victim.boot_id != booted
    cluster.writes_on(lost)
    cluster.prove(lost)


def test_a_machine_that_stalled_writes_nothing_when_it_goes_on(cluster: Cluster, victim: Machine) -> None:
    """All of it stands still, its clocks go on: its watchdog fires as soon as it runs again."""
    lost = cluster.on(victim.name)
    with cluster.steps.step("a machine that stalls: all VMs elsewhere"):
        victim.stall(on=True)
        try:
            cluster.recovered(victim.name, lost)
            cluster.writes_on(lost)
        finally:
            with Resets(victim) as resets:
                victim.stall(on=False)
                resets.wait(WATCHDOG_SECONDS)
    back(cluster, victim)
    cluster.writes_on(lost)
    cluster.prove(lost)


def test_a_zombie_writes_nothing_that_counts(cluster: Cluster, victim: Machine) -> None:
    """It goes on as if no time had passed, with its VMs: no watchdog fires, until it hears of what it missed."""
    lost, booted = cluster.on(victim.name), victim.boot_id
    with cluster.steps.step("a zombie: all VMs elsewhere"):
        victim.zombie(on=True)
        cluster.recovered(victim.name, lost)
        cluster.writes_on(lost)
    old_ticks = {vm: ticks_of(cluster, vm, generation) for vm, generation in lost.items()}
    victim.zombie(on=False)
    back(cluster, victim)
    assert victim.boot_id == booted or victim.ssh("virsh list --name").split() == []
    assert {vm: ticks_of(cluster, vm, generation) for vm, generation in lost.items()} == old_ticks
    cluster.writes_on(lost)
    cluster.prove(lost)


def ticks_of(cluster: Cluster, vm: int, generation: int) -> int:
    """How many records that copy has on the disk."""
    return sum(run.ticks for run in cluster.disk(vm).runs if run.generation == generation)


def back(cluster: Cluster, machine: Machine) -> None:
    """It is one of the cluster again, clean."""
    with cluster.steps.step(f"{machine.name} is back"):
        machine.wait_for_ssh()
        cluster.cloud.wait(cluster.is_whole, f"{machine.name} to be back", 180)
    until(lambda: machine.ssh("virsh list --name").split() == [], f"no VMs on {machine.name}", 60)
