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
