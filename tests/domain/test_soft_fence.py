"""An agent that falls silent on a node that Corosync still sees: told to its API first, and cut off only in the end."""

from typing import Any

from app.domain.actions import Action, CancelIncident, CommitPlan, OpenIncident
from app.domain.cluster import ClusterView
from app.domain.events import FenceRead, SignalReceived, Written
from app.domain.fence_actions import CutStorage, Fence, ReadFence, SoftFence
from app.domain.node import Node
from tests.domain.make import incident, lost, node, view, vm
from tests.domain.one_agent import Coordinator, only

ALL = "n1 n2 n3"


def _rows(n3: Node | None = None, vms: list[Any] | None = None) -> ClusterView:
    n3 = n3 or node("n3", watchdog_seconds=None)
    open_ = [incident("n3")] if n3.state.value == "lost" else []
    return view([node("n1"), node("n2"), n3], [vm(3, "n3")] if vms is None else vms, open_)


class Story:
    """n1 leads; every second it hears all that live, and sees the rows."""

    def __init__(self, rows: ClusterView | None = None, **settings: Any) -> None:
        self.one = Coordinator.leading(**settings)
        self.rows, self.now = rows or _rows(), 0.0
        self.done: list[Action] = []

    def until(self, end: float, heard: str = "n1 n2") -> list[Action]:
        """All that is decided until then; `heard`: whose signals come round."""
        found: list[Action] = []
        while self.now < end:
            self.now = round(self.now + 0.5, 1)
            signals = [SignalReceived(n, "here", epoch=int(self.now * 1000)) for n in heard.split()]
            found += self.one.step(self.now, *signals)
            found += self.one.sees(self.now, self.rows)
        return found


def test_an_agent_that_falls_silent_is_told_of_once_for_each_silence() -> None:
    story = Story()
    assert only(SoftFence, tuple(story.until(5, ALL))) == []
    assert only(SoftFence, tuple(story.until(8.5))) == []
    (told,) = only(SoftFence, tuple(story.until(20)))
    assert (told.node, told.kind, told.silent_seconds) == ("n3", "silent", 4.0)
    assert only(SoftFence, tuple(story.until(24, ALL))) == []
    assert len(only(SoftFence, tuple(story.until(30)))) == 1


def test_one_that_left_the_group_is_gone() -> None:
    story = Story()
    story.until(5, ALL)
    story.one.group(5.1, "n1 n2", left="n3")
    assert [s.kind for s in only(SoftFence, tuple(story.until(10)))] == ["gone"]


def test_one_that_boots_is_not_silent_yet() -> None:
    """Corosync is up long before the agent where the database takes its time."""
    story = Story()
    assert only(SoftFence, tuple(story.until(30))) == []


def test_a_node_that_is_away_is_nobody_to_talk_to_and_its_recovery_waits_for_nothing() -> None:
    story = Story(blip_seconds=0.0)
    story.until(5, ALL)
    found = story.one.members(5.1, "n1 n2")
    assert [o.silent for o in only(OpenIncident, found)] == [False]
    story.one.step(6.1, Written("open", "n3"))
    story.rows = _rows(lost("n3"))
    found = tuple(story.until(12))
    assert only(Fence, found) != []
    assert only(SoftFence, found) == []


def test_we_ask_ourselves_first_after_a_pause_and_while_we_hear_nothing() -> None:
    story = Story()
    story.until(5, ALL)
    story.now = 12.0  # we were stopped: who leads now is another question
    story.one.step(12.0)
    assert story.one.state.heard_at["n3"] == 12.0


def test_an_operator_who_works_on_the_node_is_left_alone() -> None:
    for row in (node("n3", maintenance=True), node("n3", leaving="migrate")):
        story = Story(_rows(row))
        story.until(5, ALL)
        assert only(SoftFence, tuple(story.until(60))) == []
        assert only(OpenIncident, tuple(story.until(70))) == []


def test_only_when_it_did_not_help_for_long_is_the_node_lost_and_its_power_cut() -> None:
    story = Story(soft_fence_wait_seconds=20.0, blip_seconds=3.5, storage_fences=frozenset({"pool"}))
    story.until(5, ALL)
    assert only(OpenIncident, tuple(story.until(28.5))) == []
    (opened,) = only(OpenIncident, tuple(story.until(29.5)))
    assert opened.silent
    story.one.step(29.6, Written("open", "n3"))
    story.rows = _rows(lost("n3", watchdog_seconds=None))
    found = tuple(story.until(31))
    assert [f.method for f in only(Fence, found)] == ["power"]
    assert only(CutStorage, found) == [], "it is a member: no plan would be made on that"
    assert only(CancelIncident, found) == [], "to be in the group is not to be heard"


def test_a_reading_of_a_member_proves_nothing() -> None:
    story = Story(soft_fence_wait_seconds=20.0)
    story.until(5, ALL)
    story.until(29.5)
    story.one.step(29.6, Written("open", "n3"))
    story.rows = _rows(lost("n3", watchdog_seconds=None))
    asked = only(ReadFence, tuple(story.until(30)))
    for read in asked:
        story.one.step(30.1, FenceRead(5, "n3", read.method, True, "off", read.asked_at))
    assert story.one.state.fences["n3"].proof is None
    assert only(CommitPlan, tuple(story.until(31))) == []


def test_one_that_is_heard_again_is_let_in() -> None:
    story = Story(soft_fence_wait_seconds=20.0, fence_methods={})
    story.until(5, ALL)
    story.until(29.5)
    story.one.step(29.6, Written("open", "n3"))
    story.rows = _rows(lost("n3", watchdog_seconds=None))
    assert only(CancelIncident, tuple(story.until(40))) == []
    assert only(CancelIncident, tuple(story.until(42, ALL))) != []


def test_a_node_without_vms_is_not_fenced_for_its_agent() -> None:
    story = Story(_rows(vms=[]))
    story.until(5, ALL)
    found = tuple(story.until(60))
    assert len(only(SoftFence, found)) == 1
    assert only(OpenIncident, found) == []
