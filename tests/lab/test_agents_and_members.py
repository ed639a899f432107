"""What decides and what remembers goes: agents, the coordinator, members of the database. Nothing is lost by it."""

from __future__ import annotations

import random
import time

import pytest

from tests.lab.story import Story

pytestmark = pytest.mark.lab


def test_agent_killed_in_the_middle_of_a_recovery(story: Story) -> None:
    """Both survivors' agents are killed when the plan is written: the VMs are theirs, nothing has started yet."""
    vms, last = story.fill("n3", 3), story.last_incident()
    story.lab.kill("n3")
    story.step("n3", "planned", after=last)
    for node in ("n1", "n2"):
        story.lab.kill_agent(node)
    story.recovered(vms, after=last)
    story.prove()


def test_database_member_killed(story: Story) -> None:
    """Its node asks another member and goes on: it takes a new VM, and when it dies its VMs are recovered."""
    story.lab.kill_database("n3")
    vms, last = story.fill("n3", len(story.placed("n3")) + 1), story.last_incident()
    story.lab.kill("n3")
    story.recovered(vms, after=last)
    story.prove()


def test_kill_9_of_an_agent_at_any_moment_loses_nothing(story: Story) -> None:
    """VMs are created, stopped and deleted while the agent of their node is killed again and again."""
    moments = random.Random(7)
    before = story.fill("n1", 2)
    boots = story.boots(before)
    kept = [story.cloud.create_vm(story.new_name()) for _ in range(3)]
    gone = story.cloud.create_vm(story.new_name())
    for _ in range(2):
        # Killed again while it starts; a third time in a row would be a hang, which the watchdog ends.
        for _ in range(2):
            for node in story.lab.nodes:
                story.lab.kill_agent(node)
            time.sleep(2 * moments.random())  # any moment of the next start: this is the claim, not a wait
        story.steady(90)
    story.cloud.customer("DELETE", f"/servers/{gone}")
    story.lab.kill_agent(story.vm(kept[0])["node"])
    story.steady(90)
    story.cloud.wait(lambda: gone not in {v["id"] for v in story.cloud.vms()}, "the deleted VM gone", 60)
    assert set(kept) <= set(story.placed())
    story.prove()
    assert story.boots(before) == boots, "no VM was touched"


def test_a_copy_of_a_stale_generation_is_destroyed(story: Story) -> None:
    """The row got a new generation while the agent was away: what runs is a copy that must not be."""
    vm_id, placed = next(iter(story.fill("n2", 1).items()))
    story.lab.kill_agent("n2", restart=False)
    story.query(f"UPDATE vms SET generation = generation + 1 WHERE id = {vm_id}")
    story.lab.restart_agent("n2")
    story.cloud.wait(
        lambda: story.vm(vm_id)["generation"] == placed.generation + 1 and story.vm(vm_id)["verified"],
        "the new generation verified", 40,
    )  # fmt: skip
    runs = story.disk(vm_id).runs
    assert {run.generation for run in runs} >= {placed.generation, placed.generation + 1}
    log = story.lab.log("n2", "agent").read_text()
    assert f"event=done work=destroy vm={vm_id} generation={placed.generation}" in log
    story.prove()
