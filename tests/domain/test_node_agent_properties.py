"""Whatever happens in whatever order: what one node's agent never does."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.actions import (
    Action,
    DestroyVm,
    FeedWatchdog,
    RemoveVm,
    ResetVm,
    ResumeVm,
    StartVm,
    StopVm,
)
from app.domain.events import UP, DomainFact, DomainState, Event, HypervisorLost, Reported, StoreLost, VmWorkDone
from app.domain.node import NodeState
from app.domain.node_agent_ends import open_ending, told
from app.domain.node_agent_rules import keeps
from app.domain.policy import AfterEnd, HaPolicy, QuorumLoss
from app.domain.vm import Desired, Observed, PowerSeen, Vm
from tests.domain.make import node, vm
from tests.domain.one_agent import NodeAgent, only

IDS = (1, 2, 3)

policies = st.builds(
    HaPolicy,
    on_quorum_loss=st.sampled_from(QuorumLoss),
    on_crash=st.sampled_from(AfterEnd),
    on_hang=st.sampled_from(AfterEnd),
    on_panic=st.sampled_from(AfterEnd),
    guest_silence_seconds=st.sampled_from((0.0, 5.0)),
)
seen = st.builds(
    Observed,
    power=st.sampled_from(PowerSeen),
    generation=st.integers(0, 3),
    node=st.sampled_from(("n1", "n2")),
    ended=st.sampled_from(("", "crashed", "hung")),
    ends=st.integers(0, 6),
    ends_in_a_row=st.integers(0, 6),
)
facts = st.builds(
    DomainFact,
    vm_id=st.sampled_from(IDS),
    generation=st.integers(1, 3),
    state=st.sampled_from(DomainState),
    guest_alive=st.booleans(),
    ended=st.sampled_from(("", "crashed", "shutdown", "destroyed")),
    paused_by=st.sampled_from(("", "io-error", "watchdog")),
    silent_seconds=st.sampled_from((None, 3.0, 60.0)),
)


@st.composite
def rows(draw: st.DrawFn) -> Vm:
    one = vm(draw(st.sampled_from(IDS)), "n1", draw(st.integers(1, 3)))
    return replace(
        one,
        desired=draw(st.sampled_from((Desired.RUNNING, *Desired))),
        locked=draw(st.sampled_from((False, False, True))),
        local=draw(st.booleans()),
        ha=draw(policies),
        observed=draw(seen),
        resets_wanted=draw(st.integers(0, 1)),
    )


what_happens = st.one_of(
    st.tuples(st.just("quorum"), st.booleans()),
    st.tuples(st.just("lists"), st.lists(facts, max_size=3, unique_by=lambda f: f.vm_id)),
    st.tuples(
        st.just("wants"),
        st.tuples(
            st.sampled_from((NodeState.ONLINE, *NodeState)),
            st.lists(rows(), min_size=1, max_size=3, unique_by=lambda v: v.id),
            st.floats(0, 4),
        ),
    ),
    st.tuples(st.just("ended"), st.tuples(st.sampled_from(IDS), st.sampled_from(("", "it failed")))),
    st.tuples(st.just("reported"), st.booleans()),
    st.tuples(st.just("libvirt gone"), st.none()),
    st.tuples(st.just("ring"), st.booleans()),
    st.tuples(st.just("nothing"), st.none()),
)
stories = st.lists(st.tuples(st.sampled_from((0.1, 0.4, 1.0, 1.9, 2.5)), what_happens), min_size=8, max_size=60)


def _happen(one: NodeAgent, now: float, what: str, detail: Any) -> tuple[Action, ...]:
    events: tuple[Event, ...] = ()
    match what:
        case "quorum":
            return one.quorum(now, quorate=detail)
        case "lists":
            return one.runs(now, *detail)
        case "wants":
            state, vms, ago = detail
            one.row = node("n1", state=state)
            one.state = replace(one.state, loading=True)
            return one.wants(now, *vms) if ago < 3 else one.step(now, StoreLost("desired", "slow"))
        case "ended":
            vm_id, error = detail
            work = one.state.working.get(vm_id, "destroy" if vm_id in one.state.destroying else "")
            events = (VmWorkDone(vm_id, 1, work, error),) if work else ()
        case "reported":
            events = ((Reported() if detail else StoreLost("report", "gone")),) if one.state.reporting else ()
        case "libvirt gone":
            events = (HypervisorLost("gone"),)
        case "ring":
            one.ring_turns = detail
    return one.step(now, *events)


def _must_hold(one: NodeAgent, now: float, actions: tuple[Action, ...]) -> None:
    state, figures = one.state, one.settings
    lets_run: list[tuple[int, int, float]] = [(a.vm.id, a.vm.generation, a.not_after) for a in only(StartVm, actions)]
    lets_run += [(a.vm_id, a.generation, a.not_after) for a in only(ResumeVm, actions)]
    assert state.desired is not None or not lets_run
    for vm_id, generation, not_after in lets_run:
        wanted = (state.desired or {})[vm_id]
        assert state.quorate, "without quorum"
        assert state.desired_at >= state.quorate_at, "on a reading from before quorum"
        assert now - state.desired_at <= figures.lease_seconds, "on an old reading"
        assert not_after == state.desired_at + figures.lease_seconds
        assert now - state.ring_alive_at <= figures.ring_silence_seconds, "with a Corosync that says nothing"
        assert state.node is not None
        assert state.node.state is NodeState.ONLINE
        assert wanted.wants_to_run
        assert wanted.generation == generation
        assert vm_id not in state.destroying
        ending = open_ending(state, wanted)
        assert ending is None or told(wanted, ending), "an end is told before anything is done about it"
    assert len([w for w in state.working.values() if w == "start"]) <= figures.starts_max
    if not state.quorate:
        assert not [a for a in actions if isinstance(a, (StartVm, ResumeVm, ResetVm, StopVm, RemoveVm))]
        _without_quorum(one, now)
    _fed(one, now, actions)


def _without_quorum(one: NodeAgent, now: float) -> None:
    """At the deadline all that is up and not kept is being destroyed, or was a moment ago."""
    state, figures = one.state, one.settings
    silent = not state.quorum_known and now - state.quorum_lost_at < figures.first_word_seconds
    if silent or now - state.quorum_lost_at < figures.self_fence_seconds:
        return
    for fact in (state.domains or {}).values():
        if fact.state in UP and not keeps(state, fact):
            assert fact.vm_id in state.destroying or now < state.hold_until.get(fact.vm_id, now), fact


def _fed(one: NodeAgent, now: float, actions: tuple[Action, ...]) -> None:
    state = one.state
    if not only(FeedWatchdog, actions):
        return
    assert isinstance(actions[-1], FeedWatchdog)
    assert now >= state.unsure_until
    cast_out = state.node is not None and state.node.state is NodeState.FENCED
    if state.quorate and not cast_out and now - state.ring_alive_at <= one.settings.ring_silence_seconds:
        return
    assert state.domains is not None
    assert not state.working
    assert not state.destroying
    assert not [f for f in state.domains.values() if f.state in UP and not keeps(state, f)]


@settings(max_examples=500, deadline=None)
@given(stories)
def test_what_an_agent_never_does(story: list[tuple[float, tuple[str, Any]]]) -> None:
    one, now = NodeAgent(), 0.0
    one.quorum(0.0)
    for pause, (what, detail) in story:
        now += pause
        _must_hold(one, now, _happen(one, now, what, detail))


@settings(max_examples=200, deadline=None)
@given(stories)
def test_a_kept_vm_is_destroyed_only_when_it_is_not_wanted_here(story: list[tuple[float, tuple[str, Any]]]) -> None:
    """Quorum or not: a local VM that is to be kept, in the right generation and well, loses its QEMU to nobody."""
    one, now = NodeAgent(), 0.0
    for pause, (what, detail) in story:
        now += pause
        actions = _happen(one, now, what, detail)
        for gone in only(DestroyVm, actions):
            wanted = (one.state.desired or {}).get(gone.vm_id)
            fact = (one.state.domains or {}).get(gone.vm_id)
            if wanted is None or fact is None or not keeps(one.state, fact):
                continue
            ending = open_ending(one.state, wanted)
            panicked = fact.state is DomainState.PANICKED
            assert not wanted.wants_to_run or ending is not None or panicked, gone
