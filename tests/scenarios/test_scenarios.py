"""Every failure story beside this file must happen exactly as its expected.log tells it."""

from pathlib import Path

import pytest

from app.simulator.run import run
from app.simulator.scenario import load_scenario

HERE = Path(__file__).parent
STORIES = sorted(p.parent.name for p in HERE.glob("*/script.txt"))


def test_there_are_stories() -> None:
    assert len(STORIES) >= 12


@pytest.mark.parametrize("name", STORIES)
def test_story(name: str) -> None:
    scenario = load_scenario(HERE / name)
    outcome = run(scenario.layout, scenario.commands, must_settle=True)
    assert outcome.violation == ""
    assert scenario.expected is not None, "read the story, then: holdfast simulate tests/scenarios/NAME --update"
    assert outcome.text.splitlines() == scenario.expected.splitlines()
