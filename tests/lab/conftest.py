"""Labs for the tests. Stories share one as long as each leaves it whole; whatever happens all are taken down."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from app.lab.cluster import Lab, NodeSettings
from app.lab.opening import open_cloud
from tests.lab.evidence import evidence
from tests.lab.story import Story

LabFactory = Callable[[str], Lab]
NODE_MEMORY_MIB = 2048
#: all that this run made
_labs: list[Lab] = []


def pytest_exception_interact(report: pytest.CollectReport | pytest.TestReport) -> None:
    """A failure is shown with what the labs say of it."""
    report.sections.extend((f"What lab {lab.name} says", evidence(lab)) for lab in _labs if lab.is_up)


def lab_name(letter: str) -> str:
    """Names carry the process id so that two test runs do not meet."""
    return f"{letter}{os.getpid() % 46656:x}"[:8]


@pytest.fixture(scope="module")
def new_lab() -> Iterator[LabFactory]:
    """Make labs by a short name."""
    labs: list[Lab] = []

    def make(name: str) -> Lab:
        lab = Lab(lab_name(name))
        labs.append(lab)
        _labs.append(lab)
        lab.down()  # what a killed run of the same name left
        return lab

    yield make
    for lab in labs:
        lab.down()


class StoryLab:
    """The one lab of all stories. One that a story left broken is replaced by a new one: bring-up takes 20 s."""

    def __init__(self) -> None:
        self.lab = Lab(lab_name("s"))
        _labs.append(self.lab)
        self._story: Story | None = None

    def story(self) -> Story:
        """A whole lab with three nodes."""
        if self._story is None:
            self.lab.down()
            webhooks = {"delays_seconds": [0, 1, 1, 2, 2, 5, 5]}
            # Agents that are killed and started again on a busy machine need some seconds: only a hang is one.
            self.lab.up(
                [NodeSettings(memory_mib=NODE_MEMORY_MIB)] * 3, config={"webhooks": webhooks}, watchdog_seconds=15
            )
            cloud = open_cloud(self.lab)
            # one story after the other loses the same node: that is no flapping
            cloud.admin("PATCH", "/settings", json={"quarantine_losses": 1000})
            self._story = Story(self.lab, cloud)
        return self._story

    def drop(self) -> None:
        """Take it down; the next story gets a new one."""
        if self._story is not None:
            self._story.cloud.close()
            self._story = None
        self.lab.down()


@pytest.fixture(scope="session")
def story_lab() -> Iterator[StoryLab]:
    """Down at the end of the session."""
    shared = StoryLab()
    yield shared
    shared.drop()


@pytest.fixture
def story(story_lab: StoryLab) -> Iterator[Story]:
    """The shared lab, whole before and made whole again after the test; not getting whole fails the test."""
    story = story_lab.story()
    yield story
    try:
        story.whole_again()
    except BaseException:
        story_lab.drop()
        raise
