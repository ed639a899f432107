"""The storage fence in the chain: what it needs, when it is a proof, who gets the storage back and when."""

from typing import Any

import pytest

from app.domain.actions import Action, CancelIncident, CommitPlan, RecordProof, VoidProof
from app.domain.cluster import IncidentPhase, Proof, Step
from app.domain.coordinator_state import CoordinatorState
from app.domain.events import FenceAttempted, FenceRead, StorageRestored, Written
from app.domain.fence_actions import CutStorage, ReadStorage, RestoreStorage
from app.domain.fencing import VOID
from app.domain.node import Node
from app.domain.storage_fencing import pools_to_cut
from app.domain.vm import Desired
from tests.domain.make import WHEN, fenced, incident, lost, node, view, vm
from tests.domain.one_agent import Coordinator, only

BOTH = frozenset({"pool", "fast"})
CUT_OFF = Proof("storage", "fast: n3 is cut off; pool: n3 is cut off")
VMS = [vm(1), vm(3, "n3"), vm(4, "n3", pool="fast")]


def _rows(n3: Node, *, proof: Proof | None = None, steps: tuple[Any, ...] = (), vms: list[Any] | None = None) -> Any:
    phase = IncidentPhase.PLANNING if proof else IncidentPhase.FENCING
    open_ = [incident("n3", phase, proof=proof, steps=steps)] if n3.state.value == "lost" else []
    return view([node("n1"), node("n2"), n3], VMS if vms is None else vms, open_)


def _without_power(**more: Any) -> Coordinator:
    one = Coordinator.leading(fence_methods={}, storage_fences=BOTH, **more)
    one.members(1.0, "n1 n2")
    return one


def _cut(now: float = 1.1, **more: Any) -> tuple[Coordinator, tuple[Action, ...]]:
    """n3 is lost, and the coordinator sees its rows."""
    one = _without_power()
    return one, one.sees(now, _rows(lost("n3", watchdog_seconds=None), **more))


# -- which pools


def test_every_pool_with_a_volume_of_the_node_is_needed_also_of_what_is_off_or_on_its_way_there() -> None:
    rows = view([node("n1"), node("n3")], [
        vm(1, "n1", pool="other"), vm(2, "n3"), vm(3, "n3", pool="fast", desired=Desired.STOPPED),
        vm(4, "n1", pool="slow", migrating_to="n3"), vm(5, "n3", pool="disk", local=True),
    ])  # fmt: skip
    assert pools_to_cut(rows, "n3", frozenset({"pool", "fast", "slow"})) == ("fast", "pool", "slow")
    assert pools_to_cut(rows, "n3", frozenset({"pool", "fast"})) == ()


def test_all_of_them_are_cut_at_once_and_none_where_one_cannot_be() -> None:
    one, actions = _cut()
    assert only(CutStorage, actions) == [CutStorage(5, "n3", "10.0.0.3", ("fast", "pool"), 20.0)]
    assert only(CutStorage, one.sees(1.2, _rows(lost("n3")))) == [], "it is under way"
    _, actions = _cut(vms=[*VMS, vm(5, "n3", pool="plain")])
    assert only(CutStorage, actions) == []


def test_it_waits_as_long_as_power_does_for_a_node_that_may_only_have_lost_its_network() -> None:
    one = _without_power(blip_seconds=3.5)
    rows = _rows(lost("n3"))
    assert only(CutStorage, one.sees(1.1, rows)) == []
    one.step(2.9)
    assert only(CutStorage, one.sees(4.4, rows)) == []
    assert only(CutStorage, one.step(4.6)) != []


# -- the proof


def test_an_attempt_that_saw_the_cut_is_the_proof_and_no_plan_follows_before_it_is_read_again() -> None:
    one, _ = _cut()
    actions = one.step(1.5, FenceAttempted(5, "n3", "storage", CUT_OFF))
    assert only(RecordProof, actions) == [RecordProof(5, "n3", CUT_OFF)]
    asked = only(ReadStorage, actions)
    assert [(a.pools, a.asked_at) for a in asked] == [(("fast", "pool"), 1.5)]
    one.step(1.7, Written("proof", "n3"))
    rows = _rows(lost("n3"), proof=CUT_OFF)
    assert only(CommitPlan, one.sees(1.8, rows)) == []
    actions = one.step(1.9, FenceRead(5, "n3", "storage", True, "cut off", 1.5))
    assert [p.plan.node for p in only(CommitPlan, actions)] == ["n3"]


def test_pools_that_cannot_be_read_hold_the_plan_up_and_are_believed_no_more_after_a_while() -> None:
    one, _ = _cut()
    one.step(1.5, FenceAttempted(5, "n3", "storage", CUT_OFF))
    one.step(1.7, Written("proof", "n3"))
    rows, now = _rows(lost("n3"), proof=CUT_OFF), 1.8
    one.sees(now, rows)
    while now < 20.5:
        now += 1.0
        actions = one.step(now, FenceRead(5, "n3", "storage", None, "no answer", one.state.fences["n3"].reading_since))
        assert only(CommitPlan, actions) == []
        assert only(VoidProof, actions) == []
    actions = one.step(22.0)
    assert [(v.method, v.node) for v in only(VoidProof, actions)] == [("storage", "n3")]


def test_pools_that_let_it_in_again_make_the_proof_void_and_are_not_asked_any_more() -> None:
    one, _ = _cut()
    one.step(1.5, FenceAttempted(5, "n3", "storage", CUT_OFF))
    one.step(1.7, Written("proof", "n3"))
    one.sees(1.8, _rows(lost("n3"), proof=CUT_OFF))
    actions = one.step(1.9, FenceRead(5, "n3", "storage", False, "pool: n3 is let in", 1.5))
    (void,) = only(VoidProof, actions)
    one.step(2.0, Written("void", "n3"))
    steps = (Step(WHEN, VOID, f"storage: {void.why}"),)
    assert only(CutStorage, one.sees(2.1, _rows(lost("n3", watchdog_seconds=None), steps=steps))) == []


# -- the way back


@pytest.mark.parametrize(
    ("n3", "given"),
    [
        (fenced("n3", storage_cut=("pool",), storage_token=7, cleaned=True), True),
        (fenced("n3", storage_cut=("pool",), storage_token=7), False),
        (fenced("n3", cleaned=True), False),
        (node("n3", storage_cut=("pool",), storage_token=7), True),
        (node("n3"), False),
        (fenced("n3", storage_cut=("unknown here",), storage_token=7, cleaned=True), False),
    ],
    ids=["clean", "not clean yet", "was not cut off", "let in by an older version", "well", "another's pool"],
)
def test_who_gets_the_storage_back(n3: Node, given: bool) -> None:
    one = Coordinator.leading(fence_methods={}, storage_fences=BOTH)
    actions = one.sees(1.1, _rows(n3))
    assert [(a.node, a.pools, a.token) for a in only(RestoreStorage, actions)] == [("n3", ("pool",), 7)] * given
    assert only(RestoreStorage, one.sees(1.2, _rows(n3))) == [], "it is under way"


def test_it_is_tried_again_after_a_pause_and_for_ever() -> None:
    one = Coordinator.leading(fence_methods={}, storage_fences=BOTH)
    rows = _rows(fenced("n3", storage_cut=("pool",), storage_token=7, cleaned=True), vms=[])
    one.sees(1.0, rows)
    for tries in range(1, 6):
        one.step(tries * 1.6, StorageRestored("n3", "no answer"))
        assert only(RestoreStorage, one.sees(tries * 1.6 + 0.5, rows)) == []
        assert only(RestoreStorage, one.sees(tries * 1.6 + 1.1, rows)) != []


def test_a_node_that_comes_back_before_its_proof_gets_its_storage_first_and_is_let_in_then() -> None:
    one, _ = _cut()
    one.step(1.4, FenceAttempted(5, "n3", "storage", None, "one of two pools did not answer"))
    one.step(1.45, Written("note", "n3"))
    one.members(1.5, "n1 n2 n3")
    one.group(1.6, "n1 n2 n3", joined="n3")
    cut_off = _rows(lost("n3", storage_cut=("pool",), storage_token=1, watchdog_seconds=None))
    one.sees(1.7, cut_off)
    actions = one.sees(2.9, cut_off)
    assert [a.token for a in only(RestoreStorage, actions)] == [1]
    assert only(CancelIncident, actions) == []
    one.step(3.0, StorageRestored("n3"))
    actions = one.sees(3.1, _rows(lost("n3", storage_token=1)))
    assert only(CancelIncident, actions) != []


def test_what_one_coordinator_was_giving_back_is_not_remembered_by_the_same_agent_as_the_next() -> None:
    one = Coordinator.leading(fence_methods={}, storage_fences=BOTH)
    one.sees(1.0, _rows(fenced("n3", storage_cut=("pool",), storage_token=7, cleaned=True)))
    one.members(1.2, "n1", quorate=False)
    state: CoordinatorState = one.state
    assert state.restores == {}
