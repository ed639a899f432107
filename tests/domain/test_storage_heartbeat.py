"""What two heartbeats say of a node, the figures that must fit together, and the lease on the node's side."""

from dataclasses import replace

import pytest

from app.domain.actions import Action, DestroyVm, FeedWatchdog, PauseVm, ResumeVm, StartVm
from app.domain.events import BeatWritten, Event, HeartbeatFailed, KeepsRead, MembershipChanged
from app.domain.fencing import FencingTimes
from app.domain.heartbeat_actions import ReadKeeps, WriteBeat
from app.domain.storage_heartbeat import Beat, BeatMemory, HeartbeatTimes, Keep, KeepRecord, NodeClass, Seen, classify
from tests.domain.make import vm
from tests.domain.one_agent import NodeAgent, only, paused, running

TIMES = HeartbeatTimes()
WELL = Beat("n3", "boot-1", 1000, quorate=True, vms=1)


def _class(seen: Seen | None, *, fresh_at: float = 100.0, watched: float = 0.0, absent: float | None = None) -> object:
    memory = BeatMemory(seen={} if seen is None else {"n3": seen}, fresh_at=fresh_at, watched_since=watched)
    return classify("n3", memory, absent, 100.0, TIMES)


def test_three_things_are_told_apart() -> None:
    moves, stands = Seen(WELL, 0.0, 99.5), Seen(WELL, 0.0, 95.0)
    assert _class(moves, absent=98.0) is NodeClass.ISOLATED
    assert _class(stands, absent=98.0) is NodeClass.FAILED
    assert _class(stands) is NodeClass.STORAGE_LOST
    assert _class(moves) is NodeClass.WELL


def test_a_node_that_says_that_its_storage_fails_is_believed() -> None:
    assert _class(Seen(Beat("n3", "b", 1, quorate=True, storage_ok=False), 0.0, 99.5)) is NodeClass.STORAGE_LOST


def test_a_beat_from_before_the_absence_proves_no_isolation() -> None:
    """It was under way when the node died."""
    assert _class(Seen(WELL, 0.0, 97.9), absent=98.0) is None


def test_who_never_wrote_or_what_is_old_says_nothing() -> None:
    assert _class(None, absent=90.0) is None
    assert _class(Seen(WELL, 0.0, 99.5), fresh_at=95.9, absent=90.0) is None


def test_a_gap_in_the_readings_is_not_a_gap_in_the_beats() -> None:
    assert _class(Seen(WELL, 0.0, 90.0), watched=97.0, absent=80.0) is NodeClass.ISOLATED
    assert _class(Seen(WELL, 0.0, 90.0), watched=95.0, absent=80.0) is NodeClass.FAILED


@pytest.mark.parametrize(
    ("times", "what"),
    [
        (HeartbeatTimes(beat_seconds=2.0), "two beats"),
        (HeartbeatTimes(lease_seconds=4.0), "shorter than the lease"),
    ],
)
def test_figures_that_do_not_fit_are_refused(times: HeartbeatTimes, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        times.check(FencingTimes(), 10.0)


def test_self_fencing_must_end_before_the_watchdog_here_too() -> None:
    with pytest.raises(ValueError, match="self_fence_seconds"):
        TIMES.check(FencingTimes(self_fence_seconds=12.0), 10.0)
    TIMES.check(FencingTimes(), 10.0)
    TIMES.check(FencingTimes(), None)


def test_the_coordinator_waits_longer_than_any_clock_lets_a_node_run() -> None:
    """The node's clock may be 500 ppm slow, the coordinator's 500 ppm fast."""
    wait, slow, fast = TIMES.wait_seconds(10.0, FencingTimes()), 1 - 500e-6, 1 + 500e-6
    runs = (TIMES.lease_seconds + 10.0) / slow
    assert wait / fast > runs + 1.9


class Isolated:
    """n1 with a VM that ran, without quorum since second 2."""

    def __init__(self) -> None:
        self.agent = NodeAgent.quorate(heartbeat=TIMES)
        self.agent.sees(1.8, (running(1),), (vm(1),))
        self.agent.step(1.9, BeatWritten())
        self.agent.ring_turns = False
        self.first = self.agent.step(2.0, BeatWritten(), MembershipChanged(frozenset({"n1"}), quorate=False))

    def told(self, now: float, *records: KeepRecord) -> tuple[Action, ...]:
        return self.step(now, KeepsRead(records, "boot-1"))

    def feeds(self, now: float) -> bool:
        return bool(only(FeedWatchdog, self.step(now)))

    def step(self, now: float, *events: Event) -> tuple[Action, ...]:
        """The agent was not stopped meanwhile."""
        while now - self.agent.state.stepped_at > 1.5:
            self.agent.step(self.agent.state.stepped_at + 1.5)
        return self.agent.step(now, *events)


def _keep(counter: int, epoch: int = 5, boot: str = "boot-1") -> KeepRecord:
    return KeepRecord("n2", epoch, {"n1": Keep(boot, counter)})


def test_it_pauses_at_once_beats_and_asks() -> None:
    first = Isolated().first
    assert only(PauseVm, first)
    assert not only(FeedWatchdog, first)
    assert [b.counter for b in only(WriteBeat, first)] == [2_000]
    assert only(ReadKeeps, first)


def test_under_a_lease_what_was_paused_goes_on_and_the_watchdog_is_fed() -> None:
    node = Isolated()
    node.agent.ended(2.4, 1, "pause", paused(1))
    actions = node.told(3.0, _keep(2_500))
    assert [r.not_after for r in only(ResumeVm, actions)] == [12.5]
    assert only(FeedWatchdog, actions)


def test_the_lease_ends_by_the_counter_however_late_the_keep_came() -> None:
    node = Isolated()
    node.told(6.0, _keep(2_500))
    assert node.feeds(7.9)
    assert node.feeds(9.8)
    assert node.feeds(11.7)
    assert not node.feeds(12.5)
    node.told(12.6, _keep(2_500))
    assert not node.feeds(12.7)


def test_at_its_end_the_vms_are_paused_and_then_destroyed_before_the_watchdog() -> None:
    node = Isolated()
    node.agent.ended(2.05, 1, "pause", paused(1))
    node.told(2.1, _keep(2_000))
    node.agent.ended(2.2, 1, "resume", running(1))
    for now in (3.9, 5.8, 7.7, 9.6, 11.5):
        node.agent.runs(now, running(1))
        assert node.feeds(now)
    actions = node.step(12.1)
    assert only(PauseVm, actions)
    assert not only(DestroyVm, actions)
    node.agent.ended(13.9, 1, "pause", paused(1))
    node.step(15.8)
    assert only(DestroyVm, node.step(17.1))


@pytest.mark.parametrize(
    "record",
    [
        _keep(1_900),
        _keep(2_500, boot="boot-0"),
        _keep(900_000),
        KeepRecord("n2", 5, {"n2": Keep("boot-1", 2_500)}),
        KeepRecord("n2", 5),
    ],
    ids=["before it was alone", "another boot", "the future", "another node", "nobody"],
)
def test_what_is_not_an_echo_of_this_isolation_is_no_lease(record: KeepRecord) -> None:
    node = Isolated()
    assert not only(FeedWatchdog, node.told(3.0, record))


def test_the_highest_epoch_alone_is_obeyed_for_ever() -> None:
    node = Isolated()
    assert not only(FeedWatchdog, node.told(3.0, _keep(2_500), KeepRecord("n3", 6)))
    assert not only(FeedWatchdog, node.told(3.5, _keep(3_000)))
    assert only(FeedWatchdog, node.told(4.0, _keep(3_500, epoch=6)))


def test_a_lease_that_is_revoked_ends_now() -> None:
    node = Isolated()
    assert only(FeedWatchdog, node.told(3.0, _keep(2_500)))
    assert not only(FeedWatchdog, node.told(4.0, KeepRecord("n2", 5, {}, ("n1",))))
    assert only(DestroyVm, node.step(5.9)) == []
    node.step(7.8)
    assert only(DestroyVm, node.step(9.1))


def test_a_lease_is_worth_nothing_after_quorum_came_and_went() -> None:
    node = Isolated()
    node.told(3.0, _keep(2_900))
    node.agent.quorum(4.0)
    node.agent.quorum(5.0, quorate=False)
    assert not node.feeds(5.2)


def test_under_a_lease_nothing_is_started() -> None:
    node = Isolated()
    node.told(3.0, _keep(2_500))
    assert not only(StartVm, node.agent.runs(3.2))
    assert not only(StartVm, node.step(5.0))


def test_a_vm_that_migrates_or_that_nobody_wants_stays_as_it_is() -> None:
    for other in (vm(1, migrating_to="n2"), vm(1, locked=True), vm(1, generation=2)):
        node = Isolated()
        node.agent.state = replace(node.agent.state, desired={1: other})
        node.agent.ended(2.4, 1, "pause", paused(1))
        assert not only(ResumeVm, node.told(3.0, _keep(2_500)))


def test_an_agent_that_was_started_while_isolated_waits_a_moment_for_a_lease() -> None:
    agent = NodeAgent(heartbeat=TIMES)
    agent.ring_turns = False
    agent.runs(0.1, running(1))
    actions = agent.step(0.2, MembershipChanged(frozenset({"n1"}), quorate=False))
    assert not only(PauseVm, actions)
    assert not only(FeedWatchdog, actions)
    agent.step(1.9)
    assert only(PauseVm, agent.step(3.1)), "no lease came: the ordinary course"


def test_a_storage_that_does_not_answer_is_asked_again() -> None:
    node = Isolated()
    assert not only(WriteBeat, node.step(3.9))
    actions = node.step(5.0, HeartbeatFailed("beat", "gone"), HeartbeatFailed("lease", "gone"))
    assert only(WriteBeat, actions)
    assert only(ReadKeeps, actions)


def test_without_a_heartbeat_nothing_of_it_happens() -> None:
    agent = NodeAgent.quorate()
    agent.sees(1.0, (running(1),), (vm(1),))
    actions = agent.quorum(2.0, quorate=False)
    assert not only(WriteBeat, actions)
    assert not only(ReadKeeps, actions)
    assert not only(FeedWatchdog, agent.step(2.5, KeepsRead((_keep(2100),), "boot-1")))
