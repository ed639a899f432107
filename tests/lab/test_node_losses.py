"""A node goes, in every way a node can go; its VMs run again on the others, and never twice."""

from __future__ import annotations

from typing import Any

import pytest

from app.lab.errors import LabError
from tests.lab.conftest import NODE_MEMORY_MIB
from tests.lab.story import Story

pytestmark = pytest.mark.lab


def _whats(incident: dict[str, Any]) -> list[str]:
    return [step["what"] for step in incident["steps"]]


def test_power_cut(story: Story) -> None:
    vms, last = story.fill("n3", 3), story.last_incident()
    story.lab.kill("n3")
    incident = story.recovered(vms, after=last)
    assert incident["proof"]["method"] == "power"
    assert story.cloud.nodes()["n3"]["state"] == "fenced"
    story.prove()


def test_a_frozen_node_is_reset_by_its_watchdog_and_comes_back_clean(story: Story) -> None:
    """SIGSTOP of all of it, a fence device that does not work: only its watchdog ends it, and only time proves it."""
    vms, last = story.fill("n2", 2), story.last_incident()
    story.lab.set_fence_failing("n2", None)
    story.lab.freeze("n2")
    incident = story.recovered(vms, after=last)
    assert incident["proof"]["method"] == "watchdog"
    reset = next(e for e in reversed(story.lab.events()) if e["event"] == "power-is-off")
    assert (reset["node"], reset["by"]) == ("n2", "watchdog")
    with pytest.raises(LabError, match="n2 is off"):
        story.lab.thaw("n2")
    story.prove()
    story.lab.power_on("n2")
    story.cloud.wait(lambda: story.cloud.nodes()["n2"]["state"] == "online", "n2 hosting again", 60)
    story.prove()


def test_a_zombie_that_nothing_reset_is_kept_off_by_the_storage(story: Story) -> None:
    """Its watchdog died with it, so time lied: the image lock holds the line until it goes on and cleans itself."""
    vms, last = story.fill("n3", 2), story.last_incident()
    story.lab.set_fence_failing("n3", None)
    story.lab.freeze("n3", with_watchdog=True)
    story.step("n3", "planned", after=last, timeout_seconds=40)
    failed = story.step("n3", "start-failed", after=last, timeout_seconds=30)
    assert "image lock" in failed["detail"]
    story.lab.thaw("n3", with_watchdog=False)
    story.recovered(vms, after=last, timeout_seconds=90)
    story.prove()
    story.lab.kill("n3")  # the dead watchdog goes with it


def test_a_frozen_node_that_goes_on_after_its_vms_moved(story: Story) -> None:
    """The network was cut and it stopped its VMs itself; then it froze, its VMs moved, and it went on."""
    vms, last = story.fill("n3", 2), story.last_incident()
    story.lab.set_fence_failing("n3", None)
    story.lab.cut("n3")
    story.step("n3", "detected", after=last)
    story.cloud.wait(lambda: not _running_guests(story, "n3"), "n3 stopping its VMs itself", 20)
    story.lab.freeze("n3", with_watchdog=True)
    story.recovered(vms, after=last)
    story.lab.thaw("n3", with_watchdog=False)
    story.lab.heal("n3")
    story.cloud.wait(lambda: story.cloud.nodes()["n3"]["state"] == "online", "n3 hosting again", 60)
    story.prove()
    story.lab.kill("n3")  # the dead watchdog goes with it


def test_network_cut_and_healed(story: Story) -> None:
    """No power fence: the node destroys its VMs before its watchdog would, the others wait for just that."""
    vms, last = story.fill("n2", 2), story.last_incident()
    story.lab.set_fence_failing("n2", None)
    known = len(story.lab.events())
    story.lab.cut("n2")
    incident = story.recovered(vms, after=last)
    assert incident["proof"]["method"] == "watchdog"
    assert "power-off" not in [e["event"] for e in story.lab.events()[known:]], "it ended its VMs without a reset"
    story.lab.heal("n2")
    story.cloud.wait(lambda: story.cloud.nodes()["n2"]["state"] == "online", "n2 hosting again", 60)
    story.prove()


def test_fence_agent_fails_once_then_works(story: Story) -> None:
    vms, last = story.fill("n3", 2), story.last_incident()
    story.lab.set_fence_failing("n3", None)
    story.lab.kill("n3")
    story.step("n3", "fence-failed", after=last)
    story.lab.set_fence_failing("n3", 0)
    incident = story.recovered(vms, after=last)
    assert incident["proof"]["method"] == "power"
    story.prove()


def test_no_capacity_then_a_node_returns(story: Story) -> None:
    """One large VM fits on each node. The one of the lost node waits, and starts when the node is back."""
    story.whole_again(vms_max=3)
    memory = NODE_MEMORY_MIB * 6 // 10
    story.cloud.admin("POST", "/plans", json={"name": "large", "cores": 1, "memory_mib": memory, "disk_gib": 1})
    ids = {node: story.cloud.create_vm(f"large-{node}", plan="large") for node in story.lab.nodes}
    story.steady()
    where = {story.vm(vm_id)["node"]: vm_id for vm_id in ids.values()}
    assert set(where) == set(story.lab.nodes), "one on each"
    last = story.last_incident()
    story.lab.kill("n2")
    story.step("n2", "unplaced", after=last, timeout_seconds=30)
    waiting = story.vm(where["n2"])
    assert (waiting["status"], waiting["node"]) == ("unplaced", None)
    assert "memory" in waiting["unplaced_reason"]
    story.lab.power_on("n2")
    story.cloud.wait(lambda: story.vm(where["n2"])["verified"], "the waiting VM running", 60)
    assert story.vm(where["n2"])["node"] == "n2"
    story.prove()


def _running_guests(story: Story, node: str) -> list[str]:
    listed = story.lab.run(node, ["virsh", "-q", "list", "--name"])
    return listed.stdout.split()
