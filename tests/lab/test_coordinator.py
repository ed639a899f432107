"""The coordinator goes, with its node or alone: another one leads and goes on where the rows stand."""

from __future__ import annotations

import pytest

from tests.lab.story import Story

pytestmark = pytest.mark.lab


def test_the_coordinators_node_is_lost(story: Story) -> None:
    leader = story.coordinator()
    vms, last = story.fill(leader, 2), story.last_incident()
    story.lab.kill(leader)
    incident = story.recovered(vms, after=last)
    assert incident["proof"]["method"] == "power"
    assert story.coordinator() in story.others(leader)
    story.prove()


def test_coordinator_killed_while_it_fences_another_node(story: Story) -> None:
    """The fence takes 3 s; in the middle of it the agent that asked for it dies. The next one goes on by itself."""
    leader = story.coordinator()
    lost = story.others(leader)[0]
    vms, last = story.fill(lost, 2), story.last_incident()
    epoch = int(story.query("SELECT epoch FROM epochs"))
    story.lab.set_fence_failing(lost, failures=0, delay_seconds=3)
    story.lab.kill(lost)
    story.step(lost, "opened", after=last)
    story.lab.kill_agent(leader)
    incident = story.recovered(vms, after=last)
    assert incident["proof"], "no plan without a proof"
    assert int(story.query("SELECT epoch FROM epochs")) > epoch
    story.prove()
