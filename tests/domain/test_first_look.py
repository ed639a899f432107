"""Before the power of a lost node is cut its devices are read, and a blip costs nobody a reboot."""

from dataclasses import replace

import pytest

from app.domain.actions import Action, CancelIncident, HoldFence, NoteStep, RecordProof
from app.domain.cluster import ClusterView, Step
from app.domain.cluster_settings import ClusterSettings
from app.domain.events import FenceAttempted, FenceRead, SignalReceived, Written
from app.domain.fence_actions import Fence, ReadFence
from app.domain.fencing import LOOKED, VOID
from app.domain.storm_guard import HELD
from tests.domain.make import SEEN_OFF, WHEN, incident, lost, node, view, vm
from tests.domain.one_agent import Coordinator, only

N1, N2, N3 = node("n1"), node("n2"), node("n3")
VMS = [vm(1, "n3"), vm(2, "n2")]
HEALTHY = view([N1, N2, N3], VMS)
OPENED = view([N1, N2, lost("n3")], VMS, [incident("n3")])
#: the same, and what the first look saw is written down
NOTED = view([N1, N2, lost("n3")], VMS, [incident("n3", steps=(Step(WHEN, LOOKED, "power: reads on"),))])
EPOCH = 5
BLIP = 3.5


def _opened(**settings: object) -> Coordinator:
    """n3 is absent since second 1, its incident is open, and its devices are being read since 1.2."""
    one = Coordinator.leading(EPOCH, **{"blip_seconds": BLIP, **settings})
    one.sees(0.5, HEALTHY)
    one.members(1.0, "n1 n2")
    one.group(1.0, "n1 n2", left="n3")
    one.step(1.1, Written("open", "n3"))
    actions = one.sees(1.2, OPENED)
    assert not only(Fence, actions)
    assert [r.asked_at for r in only(ReadFence, actions)] == [1.2] * len(one.settings.fence_methods["n3"])
    return one


def _until(one: Coordinator, now: float, seen: ClusterView = NOTED) -> tuple[Action, ...]:
    """All that is asked for until then, in steps as they are."""
    done: tuple[Action, ...] = ()
    while one.state.stepped_at + 1 < now:
        done += one.sees(one.state.stepped_at + 1, seen)
    return done + one.sees(now, seen)


def _read(off: bool | None, asked_at: float = 1.2, method: str = "power", epoch: int = EPOCH) -> FenceRead:
    return FenceRead(epoch, "n3", method, off, "status", asked_at)


def test_a_node_that_reads_off_is_proven_at_once_and_nothing_is_cut() -> None:
    one = _opened()
    actions = one.step(1.5, _read(True))
    (record,) = only(RecordProof, actions)
    assert (record.proof.method, record.proof.saw) == ("power", "status off, by reading alone: status")
    assert [r.asked_at for r in only(ReadFence, actions)] == [1.5], "and it is read once more before the plan"
    assert not only(Fence, actions)


@pytest.mark.parametrize("off", [False, None], ids=["reads on", "cannot be read"])
def test_one_that_does_not_read_off_is_cut_when_its_blip_is_over_and_not_before(off: bool | None) -> None:
    one = _opened()
    (note,) = only(NoteStep, one.step(1.5, _read(off)))
    assert note.what == LOOKED
    assert "cut when it has been absent for 3.5 s" in note.detail
    one.step(1.6, Written("note", "n3"))
    for now in (1.8, 2.4, 3.6, 4.4):
        actions = one.sees(now, NOTED)
        assert not only(Fence, actions)
        assert not only(NoteStep, actions), "once"
    assert only(Fence, one.sees(4.6, NOTED))


def test_a_device_that_never_answers_the_reading_holds_up_nothing() -> None:
    one = _opened()
    assert not only(Fence, _until(one, 4.4))
    assert only(Fence, _until(one, 4.6))


def test_it_is_read_again_while_it_waits() -> None:
    one = _opened()
    one.step(1.5, _read(None))
    one.step(1.6, Written("note", "n3"))
    one.sees(1.7, NOTED)
    assert [r.asked_at for r in only(ReadFence, one.sees(2.3, NOTED))] == [2.3]
    assert only(RecordProof, one.step(2.5, _read(True, 2.3)))


def test_every_level_is_read_and_the_first_that_is_off_proves() -> None:
    one = _opened(fence_methods={"n3": ("power", "power2")})
    one.step(1.5, _read(None))
    one.step(1.6, Written("note", "n3"))
    one.sees(1.7, NOTED)
    (record,) = only(RecordProof, one.step(1.8, _read(True, method="power2")))
    assert record.proof.method == "power2"


def test_a_node_that_is_back_in_time_is_let_in_and_was_never_cut() -> None:
    one = _opened()
    one.step(1.5, _read(False))
    one.step(1.6, Written("note", "n3"))
    assert not only(Fence, _until(one, 4.2))
    one.members(4.3, "n1 n2 n3")
    one.group(4.3, "n1 n2 n3", joined="n3")
    actions = _until(one, 5.4)
    assert only(CancelIncident, actions)
    assert not only(Fence, actions)


def test_the_second_absence_is_a_blip_of_its_own() -> None:
    one = _opened()
    _until(one, 4.0)
    one.members(4.1, "n1 n2 n3")
    one.members(4.2, "n1 n2")
    assert not only(Fence, _until(one, 7.6))
    assert only(Fence, _until(one, 7.8))


@pytest.mark.parametrize(
    "answer",
    [_read(True, epoch=EPOCH - 1), _read(True, asked_at=0.9), _read(True, method="power2")],
    ids=["of another epoch", "of a reading that was not ours", "of a method that was not asked"],
)
def test_an_answer_to_something_else_proves_nothing(answer: FenceRead) -> None:
    assert not only(RecordProof, _opened().step(1.5, answer))


def test_a_reading_from_before_it_came_back_and_left_again_proves_nothing() -> None:
    one = _opened()
    one.members(2.0, "n1 n2 n3")
    one.members(2.2, "n1 n2")
    assert not only(RecordProof, one.step(2.4, _read(True)))
    assert not only(RecordProof, one.sees(2.6, OPENED))


def test_a_reading_that_nobody_had_written_down_is_void_when_the_node_is_back() -> None:
    one = _opened()
    one.state = replace(one.state, view_wanted=False, written_at=1.4)
    one.step(1.5, _read(True))  # the view is from before our last write: the proof cannot be written yet
    one.members(1.6, "n1 n2 n3")
    assert not only(RecordProof, one.sees(1.8, OPENED))
    one.members(2.0, "n1 n2")
    assert not only(RecordProof, one.sees(2.2, OPENED))


def test_an_old_reading_says_nothing_against_a_power_cut_that_came_after_it() -> None:
    one = _opened()
    assert only(Fence, _until(one, 4.6))
    off = FenceAttempted(EPOCH, "n3", "power", SEEN_OFF)
    assert only(RecordProof, one.step(5.0, off))
    one.step(5.1, _read(False))
    assert one.state.fences["n3"].lied == ""


def test_a_device_that_lied_in_this_incident_is_not_looked_at() -> None:
    one = Coordinator.leading(EPOCH, blip_seconds=BLIP)
    one.members(0.4, "n1 n2")
    told = view([N1, N2, lost("n3")], VMS, [incident("n3", steps=(Step(WHEN, VOID, "power: it lied"),))])
    assert not only(ReadFence, one.sees(0.5, told))
    assert one.state.leading


def test_the_storm_guard_holds_the_hand_and_not_the_eye() -> None:
    one = _opened()
    stormy = replace(OPENED, settings=ClusterSettings(storm_share=0.1), at=WHEN)
    actions = _until(one, 4.6, stormy)
    assert only(HoldFence, actions)
    assert not only(Fence, actions)
    one.step(4.7, Written("hold", "n3"))
    held = incident("n3", steps=(Step(WHEN, HELD, "2 of 3 nodes are lost"),))
    one.sees(4.8, replace(stormy, incidents=(held,)))
    assert only(RecordProof, one.step(4.9, _read(True)))


# -- absence counts only while we listen


def test_absence_in_which_we_heard_nothing_ourselves_does_not_count() -> None:
    """Corosync hung here: n3 may have come back, run VMs and left again meanwhile."""
    one = Coordinator.leading(EPOCH, fence_methods={})
    wait = one.settings.times.wait_seconds(10.0)
    proven: list[float] = []
    for now in range(1, 61):
        here = () if 20 < now <= 40 else (SignalReceived("n1", "here", epoch=now * 1000 - 200),)
        if now == 10:
            one.members(now, "n1 n2")
        one.step(now - 0.2, *here, *((Written("open", "n3"),) if now == 11 else ()))
        if only(RecordProof, one.sees(now, OPENED if now > 10 else HEALTHY)):
            proven.append(now)
    assert proven[0] > 40 + wait
    assert proven[0] <= 41 + wait + 1
