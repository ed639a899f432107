"""The network goes for a moment, or for longer: a blip costs no VM anything, a real cut moves them, none twice."""

from __future__ import annotations

import time

import pytest

from app.lab.wait import wait_until
from tests.lab.story import Story

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("seconds", [3, 5])
def test_a_blip_costs_no_vm_a_reboot(story: Story, seconds: float) -> None:
    """All three nodes lose each other at once: nobody is quorate, all pause their VMs, and resume them."""
    vms = story.fill("n1", 1) | story.fill("n2", 1)
    before = story.placed()
    boots, incidents = story.boots(before), story.last_incident()
    for node in story.lab.nodes:
        story.lab.cut(node, ["eth0"])
    time.sleep(seconds)  # the length of the blip is what this story is about
    for node in story.lab.nodes:
        story.lab.heal(node, ["eth0"])
    story.steady()
    story.ticks_on(vms)
    assert story.placed() == before, "nothing moved"
    assert story.boots(before) == boots, "no guest was rebooted"
    assert [i for i in story.cloud.incidents(after=incidents) if i["proof"]] == [], "nobody was fenced"
    story.prove()


def test_a_cut_of_20_seconds_moves_the_vms(story: Story) -> None:
    """One node is cut off with no fence device that works: its VMs are paused, ended, and run elsewhere, none twice."""
    vms, last = story.fill("n3", 2), story.last_incident()
    story.lab.set_fence_failing("n3", None)
    story.lab.cut("n3", ["eth0"])
    began = time.monotonic()
    story.recovered(vms, after=last)
    wait_until(lambda: time.monotonic() - began >= 20, 25, "the end of the cut")
    story.lab.heal("n3", ["eth0"])
    story.cloud.wait(lambda: story.cloud.nodes()["n3"]["state"] == "online", "n3 hosting again", 60)
    assert not story.placed("n3").keys() & vms.keys(), "nothing goes back by itself"
    story.prove()


def _agent_starts(story: Story, name: str) -> int:
    node = next(n for n in story.lab.status()["nodes"] if n["name"] == name)
    starts: int = node["services"]["agent"]["starts"]
    return starts


def test_an_agent_that_stands_still(story: Story) -> None:
    """SIGSTOP of one agent: the others hear it no more, its node's API ends it, and it is there again in time. Then
    with an API that stands still as well: the watchdog is not fed and ends the node. None runs twice."""
    vms, last = story.fill("n2", 2), story.last_incident()
    boots, starts = story.boots(vms), _agent_starts(story, "n2")
    story.lab.stop_agent("n2")
    story.cloud.wait(lambda: _agent_starts(story, "n2") > starts, "a new agent on n2", 15)
    story.steady()
    story.ticks_on(vms)
    assert story.boots(vms) == boots, "no VM was touched"
    assert story.last_incident() == last, "nobody was lost"
    assert "hangs" in story.query("SELECT text FROM events WHERE kind = 'agent.soft-fence' AND node = 'n2' LIMIT 1")

    story.lab.kill_service("n2", "api")
    story.lab.stop_agent("n2")
    story.recovered(vms, after=last)
    assert next(e for e in reversed(story.lab.events()) if e["event"] == "power-is-off")["node"] == "n2"
    story.prove()
