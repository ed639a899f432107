"""A node is emptied for a maintenance while its VMs run."""

from __future__ import annotations

import pytest

from tests.lab.story import Story

pytestmark = pytest.mark.lab


def test_drain_moves_running_vms_and_their_counters_go_on(story: Story) -> None:
    """Live migration: the same boot of each guest counts on, elsewhere, in the next generation."""
    vms = story.fill("n1", 2)
    boots, ticks = story.boots(vms), {i: story.disk(i).latest_tick for i in vms}
    story.migrated |= set(vms)
    story.cloud.admin("POST", "/nodes/n1/drain", json={})
    story.cloud.wait(lambda: not story.placed("n1"), "n1 being empty", 90)
    story.steady()
    now = story.placed()
    assert all(now[i].node != "n1" and now[i].generation > p.generation for i, p in vms.items())
    for vm_id, tick in ticks.items():
        story.ticks_beyond(vm_id, tick + 2)
    assert story.boots(vms) == boots, "no guest was rebooted"
    story.cloud.admin("POST", "/nodes/n1/return", json={})
    story.prove()
