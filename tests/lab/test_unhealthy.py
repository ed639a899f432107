"""A part of a node fails: its agent says so, its VMs run on, and it recovers by itself."""

from __future__ import annotations

import pytest

from tests.lab.story import Story

pytestmark = pytest.mark.lab
STATE = "/var/lib/holdfast"


def test_libvirt_gone(story: Story) -> None:
    vms = list(story.fill("n2", 2))
    boots = story.boots(vms)
    story.lab.kill_service("n2", "libvirt")
    story.health("n2", "libvirt")
    story.ticks_on(vms)
    story.lab.start_service("n2", "libvirt")
    story.health("n2", "ok")
    vm_id = story.cloud.create_vm(story.new_name())
    story.steady()
    assert story.vm(vm_id)["verified"]
    story.prove()
    assert story.boots(vms) == boots, "no VM was restarted"


def test_a_full_disk(story: Story) -> None:
    """The node's state directory becomes a file system that is full."""
    vms = list(story.fill("n2", 1))
    boots = story.boots(vms)
    story.lab.run("n2", ["mount", "-t", "tmpfs", "-o", "size=1m", "none", STATE])
    story.health("n2", "state directory full")
    story.ticks_on(vms)
    assert story.lab.run("n2", ["umount", STATE]).returncode == 0
    story.health("n2", "ok")
    story.prove()
    assert story.boots(vms) == boots


def test_the_whole_database_gone(story: Story) -> None:
    """All members die at once. No decision can be made; every VM runs on; when they are back all goes on."""
    vms = list(story.placed()) or list(story.fill("n1", 1))
    boots = story.boots(vms)
    ticks = {vm_id: story.disk(vm_id).latest_tick for vm_id in vms}
    sizes = {node: story.lab.log(node, "agent").stat().st_size for node in story.lab.nodes}
    for node in story.lab.nodes:
        story.lab.kill_database(node)
    for node, size in sizes.items():
        story.logged(node, "agent", "no database answers", size)
    for vm_id in vms:
        story.ticks_beyond(vm_id, ticks[vm_id])
    assert all(n["power"] == "on" for n in story.lab.status()["nodes"]), "no watchdog fired"
    for node in story.lab.nodes:
        story.lab.start_database(node)
    for node in story.lab.nodes:
        story.lab.wait_for_database(node, 3, 90)
    vm_id = story.cloud.create_vm(story.new_name())
    story.steady(90)
    assert story.vm(vm_id)["verified"]
    story.prove()
    assert story.boots(vms) == boots
