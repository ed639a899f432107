"""What a leading coordinator does about the heartbeat over storage: classes, keeps, and how long it waits then."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.domain.actions import Action, CancelIncident, NoteStep, RecordProof
from app.domain.cluster import ClusterView, Step
from app.domain.cluster_settings import AfterKeep, ClusterSettings
from app.domain.events import BeatsRead, HeartbeatFailed, KeepsWritten, Written
from app.domain.fence_actions import Fence
from app.domain.fencing import CONFIRMED, REFUSED
from app.domain.heartbeat_actions import NoteClass, ReadBeats, WriteKeeps
from app.domain.storage_heartbeat import KEEP_ENDED, Beat, HeartbeatTimes, NodeClass
from tests.domain.make import WHEN, incident, lost, node, view, vm
from tests.domain.one_agent import Coordinator, only

EPOCH = 5
N1, N2, N3 = node("n1"), node("n2"), node("n3")
VMS = [vm(1, "n3"), vm(2, "n2")]
ISOLATED = Step(WHEN, NodeClass.ISOLATED, "its VMs run on", node="n3")
FAILED = Step(WHEN, NodeClass.FAILED, node="n3")


def _view(*steps: Step, condition: str = "", **settings: Any) -> ClusterView:
    """n3 is lost, with an incident of these steps."""
    made = view([N1, N2, lost("n3", condition=condition)], VMS, [incident("n3", steps=steps)])
    return replace(made, epoch=EPOCH, at=WHEN, settings=ClusterSettings(**settings))


class Leader:
    """n1 leads in epoch 5 and reads beats; n3 writes a new one for each reading."""

    def __init__(self, **settings: object) -> None:
        self.one = Coordinator.leading(EPOCH, heartbeat=HeartbeatTimes(), blip_seconds=3.5, **settings)
        self.one.step(0.0, HeartbeatFailed("beats", "not yet"), KeepsWritten(EPOCH))
        self.now, self.beats = 0.0, True
        self.n3 = Beat("n3", "boot-3", 0, quorate=False, vms=1)
        self.seen = replace(view([N1, N2, N3], VMS), epoch=EPOCH, at=WHEN)

    @classmethod
    def without_n3(cls, **settings: object) -> "Leader":
        """n3 has gone at second 1."""
        self = cls(**settings)
        self.until(0.9)
        self.now = 1.0
        self.answered(self.one.members(1.0, "n1 n2"))
        self.answered(self.one.group(1.0, "n1 n2", left="n3"))
        self.answered(self.one.step(1.0, Written("open", "n3")))
        return self

    def until(self, end: float) -> list[Action]:
        """Let time pass; all that it asks for. The storage answers, our own signals come round, the view is read."""
        found: list[Action] = []
        while self.now < end:
            self.now = round(self.now + 0.1, 1)
            found += self.answered(self.one.sees(self.now, self.seen))
        return found

    def answered(self, actions: tuple[Action, ...]) -> tuple[Action, ...]:
        """What was asked of the storage and the database is done at once."""
        for ask in only(ReadBeats, actions):
            if self.beats:
                self.n3 = replace(self.n3, counter=self.n3.counter + 500)
            own = Beat("n1", "boot-1", int(self.now * 1000), quorate=True)
            actions += self.one.step(self.now, BeatsRead((own, self.n3), "boot-1", ask.asked_at))
        for keeps in only(WriteKeeps, actions):
            actions += self.one.step(self.now, KeepsWritten(keeps.epoch))
        for what in {type(a) for a in actions} & {NoteClass, NoteStep}:
            self.one.step(self.now, Written("class" if what is NoteClass else "note", "n3"))
        return actions

    def kept(self, **settings: object) -> None:
        """Until it keeps n3."""
        self.seen = _view()
        assert [n.what for n in only(NoteClass, tuple(self.until(3.0)))][:1] == [NodeClass.ISOLATED]
        self.seen = _view(ISOLATED, condition="isolated", **settings)
        self.one.step(self.now, Written("class", "n3"))


def _keeps(actions: list[Action]) -> list[str]:
    return [name for w in only(WriteKeeps, tuple(actions)) for name, _ in w.keeps]


def test_no_keep_before_the_incident_says_that_it_is_isolated() -> None:
    leader = Leader.without_n3()
    leader.seen = _view()
    actions = leader.until(4.0)
    assert [n.what for n in only(NoteClass, tuple(actions))]
    assert _keeps(actions) == []


def test_a_kept_node_is_told_so_by_an_echo_and_is_not_fenced() -> None:
    leader = Leader.without_n3()
    leader.kept()
    actions = leader.until(30.0)
    last = only(WriteKeeps, tuple(actions))[-1]
    assert (last.epoch, last.revoked) == (EPOCH, ())
    name, keep = last.keeps[0]
    assert (name, keep.boot) == ("n3", "boot-3")
    assert leader.n3.counter - 1000 <= keep.counter <= leader.n3.counter
    assert not only(Fence, tuple(actions))
    assert not only(RecordProof, tuple(actions)), "its watchdog would have proven it long ago"


def test_when_its_beat_stops_it_is_fenced_at_once_and_told_that_its_lease_is_over() -> None:
    leader = Leader.without_n3()
    leader.kept()
    leader.until(10.0)
    leader.beats = False
    first = leader.until(13.5)
    assert not only(Fence, tuple(first))
    told = leader.until(15.0)
    assert [n.what for n in only(NoteClass, tuple(told))][:1] == [NodeClass.FAILED]
    leader.seen = _view(ISOLATED, FAILED, condition="failed")
    actions = leader.until(17.0)
    assert only(Fence, tuple(told + actions))
    assert "n3" in [n for w in only(WriteKeeps, tuple(told + actions)) for n in w.revoked]
    assert _keeps(actions) == []


def test_time_proves_only_after_the_last_lease_and_the_watchdog() -> None:
    leader = Leader.without_n3(fence_methods={})
    leader.kept()
    leader.until(10.0)
    leader.beats = False
    leader.until(15.0)
    leader.seen = _view(ISOLATED, FAILED, condition="failed")
    last = leader.one.state.beats.acked_at["n3"]
    assert 10.0 < last <= 14.1
    assert not only(RecordProof, tuple(leader.until(last + 21.9)))
    assert only(RecordProof, tuple(leader.until(last + 22.5)))


def test_a_node_that_nobody_kept_is_proven_as_without_a_heartbeat() -> None:
    leader = Leader.without_n3(fence_methods={})
    leader.beats = False
    leader.seen = _view(FAILED)
    assert not only(RecordProof, tuple(leader.until(12.9)))
    assert only(RecordProof, tuple(leader.until(13.2)))


def test_a_new_coordinator_counts_from_its_own_first_record() -> None:
    """Who led before may have kept it until just now: the incident says that somebody did."""
    leader = Leader.without_n3(fence_methods={})
    leader.beats = False
    leader.seen = _view(ISOLATED, FAILED, condition="failed")
    first = leader.one.state.beats.durable_at
    assert first is not None
    led = max(first, leader.one.state.beats.led_since + HeartbeatTimes().view_seconds_max)
    assert not only(RecordProof, tuple(leader.until(led + 21.9)))
    assert only(RecordProof, tuple(leader.until(led + 22.5)))


def test_one_that_cannot_say_its_epoch_has_no_proof_by_time() -> None:
    leader = Leader.without_n3(fence_methods={})
    leader.one.state = replace(leader.one.state, beats=replace(leader.one.state.beats, durable_at=None, writing=True))
    leader.beats = False
    leader.seen = _view(ISOLATED, condition="isolated")
    assert not only(RecordProof, tuple(leader.until(60.0)))


def test_one_without_the_heartbeat_in_its_configuration_has_none_either() -> None:
    one = Coordinator.leading(EPOCH, fence_methods={})
    one.members(1.0, "n1 n2")
    actions: list[Action] = []
    for tenth in range(10, 600):
        actions += one.sees(tenth / 10, _view(ISOLATED))
    assert not only(RecordProof, tuple(actions))


@pytest.mark.parametrize(("then", "fenced"), [(AfterKeep.FENCE, True), (AfterKeep.KEEP, False)])
def test_after_the_limit_the_operators_policy_decides(then: AfterKeep, *, fenced: bool) -> None:
    leader = Leader.without_n3()
    leader.kept(isolated_keep_seconds=20.0, isolated_then=then)
    leader.until(6.0)
    leader.seen = replace(leader.seen, at=WHEN + timedelta(seconds=21))
    actions = leader.until(7.0)
    assert [n.what for n in only(NoteClass, tuple(actions))][:1] == ([KEEP_ENDED] if fenced else [])
    assert bool(_keeps(leader.until(9.0))) is not fenced


@pytest.mark.parametrize(
    ("beat", "settings"),
    [
        ({"gave_up": True}, {}), ({"vms": 0}, {}), ({"storage_ok": False}, {}), ({}, {"isolated_keep_seconds": 0.0}),
    ],
    ids=["it gave up", "nothing runs there", "no storage", "switched off"],
)  # fmt: skip
def test_who_is_not_worth_keeping_is_fenced(beat: dict[str, Any], settings: dict[str, Any]) -> None:
    leader = Leader.without_n3()
    leader.n3 = replace(leader.n3, **beat)
    leader.seen = _view(**settings)
    actions = leader.until(6.0)
    assert only(Fence, tuple(actions))
    assert not only(NoteClass, tuple(actions))


def test_a_power_cut_that_has_begun_is_not_taken_back_by_a_keep() -> None:
    leader = Leader.without_n3()
    leader.beats = False
    leader.seen = _view()
    assert only(Fence, tuple(leader.until(6.0)))
    leader.beats = True
    assert NodeClass.ISOLATED not in [n.what for n in only(NoteClass, tuple(leader.until(12.0)))]


def test_an_operators_word_on_a_node_that_beats_is_refused() -> None:
    leader = Leader.without_n3()
    leader.kept()
    leader.seen = _view(ISOLATED, Step(WHEN, CONFIRMED, "op: I pulled its plug"), condition="isolated")
    actions = leader.until(6.0)
    assert [n.what for n in only(NoteStep, tuple(actions))][:1] == [REFUSED]
    assert not only(RecordProof, tuple(actions))


def test_no_keep_on_an_old_view_or_one_of_another_epoch() -> None:
    leader = Leader.without_n3()
    leader.kept()
    assert _keeps(leader.until(6.0))
    leader.seen = replace(leader.seen, epoch=EPOCH + 1)
    assert _keeps(leader.until(8.0)) == []


def test_no_keep_on_a_view_from_before_this_absence() -> None:
    """It may show an earlier isolation, of which the incident is closed meanwhile."""
    leader = Leader.without_n3()
    leader.kept()
    leader.until(6.0)
    leader.answered(leader.one.members(6.1, "n1 n2 n3"))
    leader.answered(leader.one.members(6.2, "n1 n2"))
    leader.now = 6.2
    unread: list[Action] = []
    while leader.now < 7.5:
        leader.now = round(leader.now + 0.1, 1)
        unread += leader.answered(leader.one.step(leader.now))
    assert only(WriteKeeps, tuple(unread)), "the storage is written to all the while"
    assert _keeps(unread) == []
    assert _keeps(leader.until(9.0)) != []


def test_disarmed_it_goes_on_to_keep_who_is_kept() -> None:
    leader = Leader.without_n3()
    leader.kept()
    leader.seen = replace(leader.seen, settings=ClusterSettings(armed=False))
    assert _keeps(leader.until(10.0))


def test_readings_that_fail_are_asked_for_again_and_the_lease_runs_out_before_it_is_fenced() -> None:
    leader = Leader.without_n3()
    leader.kept()
    leader.until(6.0)
    last = leader.one.state.beats.acked_at["n3"]
    actions: list[Action] = []
    while leader.now < last + 9.8:
        leader.now = round(leader.now + 0.1, 1)
        actions += leader.one.sees(leader.now, leader.seen)
        actions += leader.one.step(leader.now, HeartbeatFailed("beats", "gone"), HeartbeatFailed("keeps", "gone"))
    assert len(only(ReadBeats, tuple(actions))) > 3
    assert not only(Fence, tuple(actions))
    assert not only(NoteClass, tuple(actions))


def test_old_readings_say_nothing_about_anybody() -> None:
    """Our own beat in them is an old one."""
    leader = Leader.without_n3()
    for tenth in range(10, 60):
        now = tenth / 10
        for ask in only(ReadBeats, leader.one.sees(now, _view())):
            leader.n3 = replace(leader.n3, counter=leader.n3.counter + 500)
            own = Beat("n1", "boot-1", 900, quorate=True)
            actions = leader.one.step(now, BeatsRead((own, leader.n3), "boot-1", ask.asked_at))
            assert not only(NoteClass, actions) or now < 5.0


def test_a_member_that_stops_beating_is_noted_and_noted_again_when_it_beats() -> None:
    one = Leader()
    assert not only(NoteClass, tuple(one.until(6.0)))
    one.beats = False
    noted = only(NoteClass, tuple(one.until(12.0)))
    assert {n.what for n in noted} == {NodeClass.STORAGE_LOST}
    one.seen = replace(view([N1, N2, node("n3", condition="storage-lost")], VMS), epoch=EPOCH, at=WHEN)
    assert not only(NoteClass, tuple(one.until(13.0)))
    one.beats = True
    assert only(NoteClass, tuple(one.until(16.0)))[0].what == NodeClass.WELL


def test_a_node_that_comes_back_is_let_in_as_ever() -> None:
    leader = Leader.without_n3()
    leader.kept()
    leader.until(6.0)
    leader.answered(leader.one.members(6.0, "n1 n2 n3"))
    leader.answered(leader.one.group(6.0, "n1 n2 n3", joined="n3"))
    assert only(CancelIncident, tuple(leader.until(8.0)))
