"""One node is lost: incident, fence, proof, plan, close, each only when what comes before it is in the database."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.domain.actions import (
    CancelIncident,
    CloseIncident,
    CommitPlan,
    EndQuarantine,
    HoldFence,
    LoadView,
    NoteStep,
    OpenIncident,
    RecordProof,
    SendSignal,
    VoidProof,
)
from app.domain.cluster import ClusterView, IncidentPhase, Proof, Step
from app.domain.cluster_settings import ClusterSettings
from app.domain.events import FenceAttempted, FenceRead, StoreLost, ViewLoaded, Written
from app.domain.fence_actions import Fence, ReadFence
from app.domain.fencing import CONFIRMED, REFUSED, VOID
from app.domain.vm import Desired
from tests.domain.make import SEEN_OFF, WHEN, incident, lost, node, spare, up, view, vm
from tests.domain.one_agent import Coordinator, only

N1, N2, N3 = node("n1"), node("n2"), node("n3")
VMS = [vm(1, "n3"), vm(2, "n2")]
HEALTHY = view([N1, N2, N3], VMS)
OPENED = view([N1, N2, lost("n3")], VMS, [incident("n3")])
PROVEN = view([N1, N2, lost("n3")], VMS, [incident("n3", IncidentPhase.PLANNING, proof=SEEN_OFF)])
EPOCH = 5


def _read(one: Coordinator, off: bool | None, said: str = "status off") -> FenceRead:
    """The answer to the last reading of a device that has proven something."""
    return FenceRead(EPOCH, "n3", "power", off, said, one.state.fences["n3"].reading_since)


def _without_n3(at: float = 1.0) -> Coordinator:
    """n1 leads, saw all three, and n3 has just gone."""
    one = Coordinator.leading(EPOCH)
    one.sees(0.5, HEALTHY)
    one.members(at, "n1 n2")
    one.group(at, "n1 n2", left="n3")
    return one


def _fencing(at: float = 1.0) -> Coordinator:
    """The same, the incident is open, the fence agent has been asked."""
    one = _without_n3(at)
    one.step(at + 0.1, Written("open", "n3"))
    assert only(Fence, one.sees(at + 0.2, OPENED))
    return one


# -- opening


def test_a_node_that_goes_gets_an_incident_once() -> None:
    one = Coordinator.leading(EPOCH)
    one.sees(0.5, HEALTHY)
    assert only(OpenIncident, one.members(1.0, "n1 n2")) == [OpenIncident(EPOCH, "n3", 0.0)]
    assert not only(OpenIncident, one.step(1.2))
    assert not only(OpenIncident, one.step(1.4, ViewLoaded(HEALTHY, asked_at=0.9))), "read before the write ended"


def test_nothing_is_fenced_before_the_incident_is_written() -> None:
    one = _without_n3()
    assert not only(Fence, one.step(1.2))
    one.step(1.4, Written("open", "n3"))
    assert not only(Fence, one.step(1.6, ViewLoaded(HEALTHY, asked_at=1.3)))
    assert only(Fence, one.sees(1.8, OPENED)) == [Fence(EPOCH, "n3", "power", 20.0)]


@pytest.mark.parametrize(("quorate_for", "opens"), [(10.0, False), (29.0, False), (31.0, True)])
def test_a_node_that_was_never_seen_gets_the_grace_of_a_cold_start(quorate_for: float, opens: bool) -> None:
    one = Coordinator("n1")
    one.members(0.0, "n1 n2")
    one.group(0.0, "n1 n2", joined="n1")
    one.state = replace(one.state, seniors=frozenset(), epoch=EPOCH, stepped_at=quorate_for)
    actions = one.sees(quorate_for, HEALTHY)
    actions += one.step(quorate_for + 0.2)
    assert bool(only(OpenIncident, actions)) == opens


def test_a_node_that_was_seen_gets_no_grace() -> None:
    one = Coordinator.leading(EPOCH)
    one.members(0.4, "n1 n2")
    assert only(OpenIncident, one.sees(0.6, HEALTHY))


def test_an_absent_node_that_is_fenced_already_is_left_alone() -> None:
    one = _without_n3()
    one.step(1.2, Written("open", "n3"))
    fenced = view([N1, N2, replace(N3, state=lost("n3").after("fenced"))], [vm(2, "n2")])
    actions = one.sees(1.4, fenced)
    assert not only(OpenIncident, actions)
    assert not only(Fence, actions)


# -- fencing


def test_a_fence_that_saw_the_node_off_is_recorded_and_only_then_planned() -> None:
    one = _fencing()
    assert not only(CommitPlan, one.step(2.0))
    actions = one.step(2.2, FenceAttempted(EPOCH, "n3", "power", SEEN_OFF))
    assert only(RecordProof, actions) == [RecordProof(EPOCH, "n3", SEEN_OFF)]
    assert not only(CommitPlan, actions)
    assert not only(CommitPlan, one.step(2.4, Written("proof", "n3"))), "the view is from before the proof"
    assert not only(CommitPlan, one.sees(2.6, PROVEN)), "the device was not read again"
    (plan,) = only(CommitPlan, one.step(2.8, _read(one, True)))
    assert plan.plan.node == "n3"
    assert [(a.vm_id, a.generation) for a in plan.plan.assigned] == [(1, 2)]


def test_a_fence_that_failed_is_noted_and_tried_again_and_proves_nothing() -> None:
    one = _fencing(1.0)
    actions = one.step(2.0, FenceAttempted(EPOCH, "n3", "power", None, "no answer"))
    assert not only(RecordProof, actions)
    assert only(NoteStep, actions) == [NoteStep(EPOCH, "n3", "fence-failed", "no answer")]
    one.step(2.2, Written("note", "n3"))
    actions = one.sees(3.1, OPENED)
    assert only(Fence, actions) == [Fence(EPOCH, "n3", "power", 20.0)]
    assert not only(CommitPlan, actions)


def test_a_device_that_stays_dead_does_not_fill_the_incident() -> None:
    one, now, notes = _fencing(), 2.0, 0
    for _ in range(60):
        notes += len(only(NoteStep, one.step(now, FenceAttempted(EPOCH, "n3", "power", None, "dead"))))
        one.step(now + 0.1, Written("note", "n3"))
        one.state = replace(one.state, absent_since={"n3": now})  # time alone proves nothing here
        notes += len(only(NoteStep, one.sees(now + 1.1, OPENED)))
        now += 1.2
    assert notes == 3 + 4, "the first three, then the 4th, 8th, 16th and 32nd"


def test_a_proof_from_another_epoch_counts_for_nothing() -> None:
    one = _fencing()
    assert not only(RecordProof, one.step(2.0, FenceAttempted(EPOCH - 1, "n3", "power", SEEN_OFF)))


def test_the_watchdog_proves_when_its_time_and_the_skew_are_over_and_not_before() -> None:
    one = _fencing(at=1.0)
    for now in range(2, 14):  # absent for 12 s at most
        assert not only(RecordProof, one.sees(float(now), OPENED)), now
    (record,) = only(RecordProof, one.sees(13.1, OPENED))
    assert record.proof.method == "watchdog"


def test_without_a_watchdog_time_proves_nothing() -> None:
    bare = view([N1, N2, lost("n3", watchdog_seconds=None)], VMS, [incident("n3")])
    one = _without_n3()
    one.step(1.1, Written("open", "n3"))
    for now in range(2, 300):
        assert not only(RecordProof, one.sees(float(now), bare))
    assert one.state.leading
    assert (one.state.absent_seconds("n3", 300.0) or 0) > 200


def test_an_incident_that_another_coordinator_left_behind_is_taken_up_where_it_stands() -> None:
    for found, expected in ((OPENED, Fence), (PROVEN, ReadFence), (view([N1, N2, lost("n3")], VMS), OpenIncident)):
        one = Coordinator.leading(EPOCH)
        one.members(0.5, "n1 n2")
        assert only(expected, one.sees(1.0, found)), expected


# -- the node comes back


def test_who_is_back_before_any_proof_is_let_in_once_it_has_settled() -> None:
    one = _without_n3()
    one.state = replace(one.state, writing=frozenset())
    one.members(2.0, "n1 n2 n3")
    one.group(2.0, "n1 n2 n3", joined="n3")
    assert not only(CancelIncident, one.sees(2.5, OPENED))
    assert only(CancelIncident, one.sees(3.1, OPENED)) == [CancelIncident(EPOCH, "n3")]


def test_who_is_back_without_its_agent_is_not_let_in() -> None:
    one = _without_n3()
    one.state = replace(one.state, writing=frozenset())
    one.members(2.0, "n1 n2 n3")
    for now in (3.5, 5.0, 6.5):
        assert not only(CancelIncident, one.sees(now, OPENED))
    assert one.state.leading


def test_who_is_back_while_a_fence_is_in_flight_waits_for_its_end() -> None:
    one = _fencing()
    one.members(2.0, "n1 n2 n3")
    one.group(2.0, "n1 n2 n3", joined="n3")
    assert not only(CancelIncident, one.sees(3.9, OPENED))
    assert only(CancelIncident, one.step(4.2, FenceAttempted(EPOCH, "n3", "power", None, "no answer")))


def test_who_is_back_after_the_proof_makes_it_void() -> None:
    one = _fencing()
    one.step(1.5, FenceAttempted(EPOCH, "n3", "power", SEEN_OFF))
    one.members(2.0, "n1 n2 n3")
    one.group(2.0, "n1 n2 n3", joined="n3")
    one.step(2.1, Written("proof", "n3"))
    actions = one.sees(3.8, PROVEN)
    assert only(VoidProof, actions) == [
        VoidProof(EPOCH, "n3", "power", "the node came back as a member of the cluster")
    ]
    assert not only(CommitPlan, actions)
    assert not only(CancelIncident, actions)
    assert not only(CommitPlan, one.step(4.0, _read(one, True))), "the void is being written"


def test_time_away_before_a_return_does_not_count_for_the_next_absence() -> None:
    one = _fencing(at=1.0)
    one.members(9.0, "n1 n2 n3")
    one.members(9.5, "n1 n2")
    assert one.state.absent_seconds("n3", 10.0) == 0.5


@pytest.mark.parametrize("group_first", [True, False])
def test_absence_while_a_member_was_in_another_ring_does_not_count(group_first: bool) -> None:
    """n2 was quorate with n3 in between; all that we see is that it left the group and is here again."""
    one = _without_n3(1.0)
    if not group_first:
        one.members(2.0, "n1 n2")
    one.group(2.0, "n1", left="n2")
    if group_first:
        one.members(2.0, "n1 n2")
    one.group(2.0, "n1 n2", joined="n2")
    assert one.state.absent_seconds("n3", 2.5) == 0.5
    one.members(2.5, "n1 n2")
    assert one.state.absent_seconds("n3", 3.0) == 1.0, "that was told once"


def test_another_node_that_dies_does_not_make_an_absence_longer() -> None:
    """It leaves the group and is no member any more: it was in no other ring."""
    one = _without_n3(1.0)
    one.group(2.0, "n1", left="n2")
    one.members(2.0, "n1")
    assert one.state.absent_seconds("n3", 3.0) == 2.0


def test_absence_while_we_had_no_quorum_ourselves_does_not_count() -> None:
    one = Coordinator.leading(EPOCH)
    one.members(1.0, "n1 n2")
    one.members(2.0, "n1", quorate=False)
    one.members(3.5, "n1 n2")
    assert one.state.absent_seconds("n3", 4.0) == 0.5, "it may have run VMs beside n2 meanwhile"


# -- the proof is tested until the plan


def _proven(at: float = 0.5) -> Coordinator:
    """A new coordinator that finds the proof in the database."""
    one = Coordinator.leading(EPOCH)
    one.members(at - 0.1, "n1 n2")
    assert only(ReadFence, one.sees(at, PROVEN)) == [ReadFence(EPOCH, "n3", "power", 3.0, at)]
    return one


def test_a_device_that_reads_on_again_makes_its_proof_void_and_is_not_asked_again() -> None:
    one = _proven()
    (void,) = only(VoidProof, one.step(1.0, _read(one, False, "status on")))
    assert void.why == "it reads on again (status on)"
    one.step(1.2, Written("void", "n3"))
    liar = Step(WHEN, VOID, "power: it reads on again")
    told = view([N1, N2, lost("n3")], VMS, [incident("n3", steps=(liar,))])
    assert not only(Fence, one.sees(1.4, told))
    one.step(1.6, FenceAttempted(EPOCH, "n3", "power", SEEN_OFF))
    assert not only(RecordProof, one.sees(1.8, told)), "what the liar says counts for nothing"
    for now in range(2, 13):
        assert not only(RecordProof, one.sees(float(now), told))
    (record,) = only(RecordProof, one.sees(13.0, told))
    assert record.proof.method == "watchdog"


def test_a_liar_is_followed_by_the_next_level() -> None:
    one = Coordinator.leading(EPOCH, fence_methods={"n3": ("power", "power2")})
    one.members(0.4, "n1 n2")
    told = view([N1, N2, lost("n3")], VMS, [incident("n3", steps=(Step(WHEN, VOID, "power: it lied"),))])
    assert [f.method for f in only(Fence, one.sees(0.5, told))] == ["power2"]


def test_a_device_that_cannot_be_read_again_does_not_hold_up_the_plan_for_long() -> None:
    one = _proven(0.5)
    one.step(1.0, _read(one, None, "no answer"))
    for now in (1.6, 2.5, 3.4):
        assert not only(CommitPlan, one.sees(now, PROVEN))
    assert only(CommitPlan, one.sees(3.6, PROVEN))


def test_it_is_read_again_and_again_until_the_plan() -> None:
    one = _proven(0.5)
    for now in (1.6, 2.7):
        assert only(ReadFence, one.step(now, _read(one, None, "no answer")))


def test_a_member_that_was_fenced_is_planned_once_corosync_has_dropped_it() -> None:
    one = Coordinator.leading(EPOCH)
    one.sees(0.5, PROVEN)
    for now in range(1, 11):
        assert not only(CommitPlan, one.step(now, _read(one, True)))
        assert not only(VoidProof, one.sees(float(now), PROVEN))
    assert only(CommitPlan, one.members(10.2, "n1 n2"))


def test_a_member_that_stays_one_was_not_fenced() -> None:
    one = Coordinator.leading(EPOCH)
    one.sees(0.5, PROVEN)
    one.step(1.0, _read(one, True))
    for now in range(2, 11):
        assert not only(VoidProof, one.sees(float(now), PROVEN))
    assert only(VoidProof, one.sees(10.6, PROVEN))


# -- an operator's word


def _word(*more: Step) -> ClusterView:
    said = (Step(WHEN, CONFIRMED, "op: I pulled its plug"), *more)
    return view([N1, N2, lost("n3", watchdog_seconds=None)], VMS, [incident("n3", steps=said)])


def test_an_operators_word_is_a_proof_about_a_node_that_is_absent() -> None:
    one = _without_n3()
    one.step(1.2, Written("open", "n3"))
    (record,) = only(RecordProof, one.sees(1.4, _word()))
    assert record.proof == Proof("operator", "op: I pulled its plug")


def test_an_operators_word_about_a_member_is_refused() -> None:
    one = Coordinator.leading(EPOCH)
    actions = one.sees(0.5, _word())
    assert not only(RecordProof, actions)
    assert [n.what for n in only(NoteStep, actions)] == [REFUSED]
    one.step(0.7, Written("note", "n3"))
    one.members(0.8, "n1 n2")
    assert not only(RecordProof, one.sees(1.0, _word(Step(WHEN, REFUSED, "it is a member")))), "also when it goes later"


# -- the storm guard


def _storm(share: float, missing: int, of: int, **settings: object) -> tuple[object, ...]:
    """What a coordinator does about that many lost nodes."""
    nodes = [node(f"n{i}") for i in range(1, of - missing + 1)]
    gone = [f"n{i}" for i in range(of - missing + 1, of + 1)]
    open_ = [incident(n, id=i) for i, n in enumerate(gone, start=1)]
    seen = view([*nodes, *map(lost, gone)], [], open_)
    one = Coordinator.leading(EPOCH, fence_methods=dict.fromkeys(gone, ("power",)))
    one.members(0.4, " ".join(n.name for n in nodes))
    rules = ClusterSettings(storm_share=share, **settings)  # type: ignore[arg-type]
    return one.sees(0.5, replace(seen, settings=rules, at=WHEN))


@pytest.mark.parametrize(
    ("share", "missing", "of", "fences"),
    [
        (0.5, 1, 2, True),
        (0.5, 1, 3, True),
        (0.5, 2, 4, True),
        (0.5, 3, 5, False),
        (0.3, 2, 5, False),
        (0.4, 2, 5, True),
    ],
)
def test_no_fence_begins_while_more_than_the_share_is_lost(share: float, missing: int, of: int, fences: bool) -> None:
    actions = _storm(share, missing, of)
    assert bool(only(Fence, actions)) == fences  # type: ignore[arg-type]
    assert len(only(HoldFence, actions)) == (0 if fences else missing)  # type: ignore[arg-type]


def test_an_operator_lifts_the_storm_guard_for_a_time() -> None:
    later, before = WHEN + timedelta(seconds=1), WHEN - timedelta(seconds=1)
    assert only(Fence, _storm(0.3, 2, 5, storm_lifted_until=later))  # type: ignore[arg-type]
    assert not only(Fence, _storm(0.3, 2, 5, storm_lifted_until=before))  # type: ignore[arg-type]


def test_a_fence_that_had_begun_goes_on_in_a_storm() -> None:
    one = Coordinator.leading(EPOCH, fence_methods={"n3": ("power",), "n2": ("power",)})
    one.members(0.4, "n1 n2")
    assert only(Fence, one.sees(0.5, OPENED))
    one.members(0.7, "n1", quorate=True)
    one.step(0.8, FenceAttempted(EPOCH, "n3", "power", None, "no answer"))
    both = view([N1, lost("n2"), lost("n3")], VMS, [incident("n2", id=2), incident("n3")])
    one.state = replace(one.state, writing=frozenset())
    actions = one.sees(2.0, both)
    assert [f.node for f in only(Fence, actions)] == ["n3"]
    assert [h.node for h in only(HoldFence, actions)] == ["n2"]


# -- disarmed


def _starting(*vms_: object) -> ClusterView:
    return view([N1, N2], list(vms_), [incident("n3", IncidentPhase.STARTING, proof=Proof("power", "off"))])  # type: ignore[arg-type]


def test_a_disarmed_cluster_decides_nothing_and_goes_on_where_it_stood_when_armed() -> None:
    off = ClusterSettings(armed=False)
    for seen in (HEALTHY, OPENED, PROVEN, view([N1, N2, N3], [vm(1, None)]), _starting()):
        one = Coordinator.leading(EPOCH)
        one.members(0.4, "n1 n2")
        actions = one.sees(0.5, replace(seen, settings=off))
        assert not [a for a in actions if not isinstance(a, LoadView | SendSignal)]
        assert [a for a in one.sees(0.7, seen) if not isinstance(a, LoadView | SendSignal)], "armed again"


def test_what_a_device_said_while_the_cluster_was_disarmed_counts_for_nothing() -> None:
    one = _fencing()
    one.sees(1.8, replace(OPENED, settings=ClusterSettings(armed=False)))
    one.step(2.0, FenceAttempted(EPOCH, "n3", "power", SEEN_OFF))
    actions = one.sees(2.2, OPENED)
    assert not only(RecordProof, actions)
    assert only(Fence, actions)


# -- quarantine


def test_a_quarantine_ends_when_its_time_is_over() -> None:
    kept = node("n3", quarantined_until=WHEN)
    for at, ends in ((WHEN - timedelta(seconds=1), []), (WHEN, [EndQuarantine(EPOCH, "n3")])):
        one = Coordinator.leading(EPOCH)
        assert only(EndQuarantine, one.sees(0.5, replace(view([N1, N2, kept]), at=at))) == ends


# -- plans


def test_one_plan_at_a_time_though_two_nodes_are_proven() -> None:
    both = view(
        [N1, lost("n2"), lost("n3"), node("n4"), node("n5")],
        [vm(1, "n2"), vm(2, "n3")],
        [incident(n, IncidentPhase.PLANNING, proof=SEEN_OFF, id=i) for i, n in enumerate(("n2", "n3"), start=1)],
    )
    one = Coordinator.leading(EPOCH, fence_methods={})
    one.members(0.4, "n1 n4 n5")
    assert [p.plan.node for p in only(CommitPlan, one.sees(0.5, both))] == ["n2"]
    assert not only(CommitPlan, one.step(0.7))
    actions = one.step(0.9, Written("plan", "n2"))
    assert SendSignal("look") in actions
    assert only(LoadView, actions)


def test_a_view_from_before_our_last_write_is_not_even_looked_at() -> None:
    one = Coordinator.leading(EPOCH)
    one.members(0.4, "n1 n2")
    one.sees(0.5, PROVEN)
    assert only(CommitPlan, one.step(0.6, ViewLoaded(PROVEN, asked_at=0.55), _read(one, True)))
    one.step(0.9, Written("plan", "n3"))
    assert not only(Fence, one.step(1.0, ViewLoaded(OPENED, asked_at=0.8))), "n3 is fenced and planned by now"
    assert one.state.view == PROVEN
    assert only(Fence, one.step(1.2, ViewLoaded(OPENED, asked_at=1.1)))


def test_a_plan_that_met_a_change_is_made_again_on_a_new_view() -> None:
    one = Coordinator.leading(EPOCH)
    one.members(0.4, "n1 n2")
    one.sees(0.5, PROVEN)
    assert only(CommitPlan, one.step(0.6, ViewLoaded(PROVEN, asked_at=0.55), _read(one, True)))
    assert not only(CommitPlan, one.step(0.7, StoreLost("plan:n3", "VM 1 has changed since the plan was made")))
    assert only(LoadView, one.step(0.7 + one.settings.store_retry_seconds))
    assert only(CommitPlan, one.sees(1.5, PROVEN))


def test_those_that_wait_are_tried_whenever_a_view_comes() -> None:
    full = view([node("n1", memory_mib=100)], [vm(1, None, incident_id=1)])
    one = Coordinator.leading(EPOCH)
    (first,) = only(CommitPlan, one.sees(0.5, full))
    (stuck,) = first.plan.unplaced
    one.step(0.7, Written("plan", ""))
    told = view([node("n1", memory_mib=100)], [vm(1, None, incident_id=1, unplaced_reason=stuck.reason)])
    assert not only(CommitPlan, one.sees(0.9, told)), "nothing new to say"
    room = view([node("n1", memory_mib=100), spare("n4")], list(told.vms))
    (second,) = only(CommitPlan, one.sees(1.1, room))
    assert [a.node for a in second.plan.assigned] == ["n4"]


# -- closing


MOVED = vm(1, "n2", 2, incident_id=1)


@pytest.mark.parametrize(
    ("one_vm", "closes"),
    [
        (MOVED, False),
        (replace(MOVED, observed=up(MOVED)), True),
        (replace(MOVED, observed=replace(up(MOVED), verified_at=None)), False),
        (replace(MOVED, node=None), False),
        (replace(MOVED, node=None, desired=Desired.STOPPED), True),
        (replace(MOVED, locked=True), True),
    ],
    ids=["on its way", "verified", "runs, its guest not yet", "unplaced", "stopped meanwhile", "suspended meanwhile"],
)
def test_an_incident_is_closed_when_nothing_is_owed_any_more(one_vm: object, closes: bool) -> None:
    one = Coordinator.leading(EPOCH)
    assert bool(only(CloseIncident, one.sees(0.5, _starting(one_vm)))) == closes
