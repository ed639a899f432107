"""A VM fails, not its node."""

from __future__ import annotations

import pytest

from tests.lab.story import Story

pytestmark = pytest.mark.lab


def test_a_vm_that_one_node_cannot_start_runs_on_another(story: Story) -> None:
    """QEMU of the chosen node is broken. The starts are tried there, then elsewhere, and the incident says so."""
    target, other = story.others("n3")
    story.fill(other, len(story.placed(target)) + 1)
    vms, last = story.fill("n3", 1), story.last_incident()
    story.lab.break_starts(target)
    story.lab.kill("n3")
    story.recovered(vms, after=last, timeout_seconds=90)
    incident = story.cloud.incidents("n3")[-1]
    failed = [s for s in incident["steps"] if s["what"] == "start-failed"]
    assert {s["node"] for s in failed} == {target}
    assert {story.vm(vm_id)["node"] for vm_id in vms} == {other}
    story.lab.mend_starts(target)
    story.prove()


def test_the_qemu_of_a_vm_dies(story: Story) -> None:
    """The process is killed: the agent of its node starts it again, in place."""
    vm_id, placed = next(iter(story.fill("n1", 1).items()))
    boots = story.boots([vm_id])
    story.lab.kill_guest("n1", vm_id)
    story.cloud.wait(lambda: story.boots([vm_id]) != boots and story.vm(vm_id)["verified"], "the VM running again", 60)
    assert story.vm(vm_id)["node"] == placed.node
    story.prove()


def test_the_guest_of_a_vm_panics(story: Story) -> None:
    """Its kernel gives up: it is started anew where it is, and told from a QEMU that died."""
    vm_id, placed = next(iter(story.fill("n1", 1).items()))
    boots = story.boots([vm_id])

    # its panic notifier is loaded behind the first tick: a guest that panics before that only reboots
    story.ticks_beyond(vm_id, story.disk(vm_id).latest_tick + 3)
    story.lab.panic_guest("n1", vm_id)
    asked = {"kind": "vm.panicked", "vm_id": vm_id}
    story.cloud.wait(lambda: bool(story.cloud.admin("GET", "/events", params=asked)["events"]), "its event", 30)
    story.cloud.wait(lambda: story.boots([vm_id]) != boots and story.vm(vm_id)["verified"], "the VM running again", 60)
    assert story.vm(vm_id)["node"] == placed.node
    story.prove()
