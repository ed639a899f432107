"""Deliberate bugs in the core. Each is a function that puts one in, until its monkeypatch is undone."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from app.domain import coordinator, coordinator_fencing, coordinator_rules, coordinator_storage, node_agent_rules
from app.domain.actions import Action, CommitPlan
from app.domain.cluster import ClusterView, Incident, IncidentPhase, Proof
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState
from app.domain.node import Node, NodeState
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.recovery import RecoveryPlan, plan_recovery, plan_waiting
from app.domain.storage_fencing import pools_of
from app.domain.vm import Desired, Vm
from app.engine import execute, storage_fencing
from app.ports.store import Transaction
from app.services import commit_plan, incidents
from app.services.epoch import hold_epoch
from app.simulator.cluster import SimCluster
from app.simulator.many import run_seed

Mutation = Callable[[pytest.MonkeyPatch], None]


def skip_the_proof(patch: pytest.MonkeyPatch) -> None:
    """Plans as soon as a node is lost; the service that would refuse it looks away."""

    def plan_at_once(
        state: CoordinatorState,
        _now: float,
        node: Node,
        _settings: CoordinatorSettings,
        actions: list[Action],
        *,
        current: bool,
    ) -> CoordinatorState:
        if not current or state.view is None:
            return state
        actions.append(CommitPlan(state.epoch or 0, plan_recovery(state.view, node.name)))
        return replace(state, writing=state.writing | {f"plan:{node.name}"})

    patch.setattr(coordinator_fencing, "_fence", plan_at_once)

    def as_if_proven(tx: Transaction, node: str) -> Incident | None:
        found = incidents.early_incident(tx, node)
        return found and replace(found, phase=IncidentPhase.PLANNING)

    patch.setattr(commit_plan, "_fenced_incident", as_if_proven)


def proof_at_once(patch: pytest.MonkeyPatch) -> None:
    """Does not wait for the watchdog."""
    patch.setattr(coordinator_fencing, "proof_by_time", lambda *_: Proof("watchdog", "surely it is dead by now"))


def ignore_the_generation(patch: pytest.MonkeyPatch) -> None:
    """A new placement keeps the generation of the old one."""

    def without(tx: Transaction, epoch: int, plan: RecoveryPlan, now: datetime) -> None:
        commit_plan.commit_plan(tx, epoch, plan, now)
        for assigned in plan.assigned:
            vm = tx.vms.get(assigned.vm_id)
            assert vm is not None
            tx.vms.save(replace(vm, generation=assigned.generation - 1))

    patch.setattr(execute, "commit_plan", without)


def forget_the_epoch(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether the coordinator is still the one."""
    patch.setattr(incidents, "hold_epoch", lambda *_: None)
    patch.setattr(incidents, "hold_armed_epoch", lambda *_: None)
    patch.setattr(commit_plan, "hold_armed_epoch", lambda *_: None)


def resume_on_an_old_reading(patch: pytest.MonkeyPatch) -> None:
    """An agent that has its quorum back goes on with what it knew before."""

    def knows_it_all(state: NodeAgentState, *_: object) -> bool:
        return state.quorate and state.domains is not None

    patch.setattr(node_agent_rules, "may_host", knows_it_all)
    patch.setattr(node_agent_rules, "reading_is_new", lambda _state: True)
    patch.setattr(SimCluster, "_settings", _patient(SimCluster._settings))


def _patient(settings: Any) -> Any:
    def build(cluster: SimCluster) -> Any:
        lead, own = settings(cluster)
        return lead, replace(own, lease_seconds=1e6)

    return build


def start_without_quorum(patch: pytest.MonkeyPatch) -> None:
    """Quorum is no condition for hosting any more."""

    def anyhow(state: NodeAgentState, *_: object) -> bool:
        return state.domains is not None and state.desired is not None

    patch.setattr(node_agent_rules, "may_host", anyhow)
    patch.setattr(SimCluster, "_settings", _patient(SimCluster._settings))


def feed_the_watchdog_always(patch: pytest.MonkeyPatch) -> None:
    """A node without quorum is not reset."""
    patch.setattr(node_agent_rules, "may_feed", lambda *_: True)


def feed_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    """A new agent feeds until it has heard from Corosync. Found by this simulator: it was so once."""
    real = node_agent_rules.may_feed

    def at_first(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
        return (not state.quorum_known and now - state.quorum_lost_at < 3.0) or real(state, now, settings)

    patch.setattr(node_agent_rules, "may_feed", at_first)


def believe_corosync_for_ever(patch: pytest.MonkeyPatch) -> None:
    """The last word of a Corosync that hangs still counts."""
    patch.setattr(node_agent_rules, "ring_alive", lambda *_: True)


def plan_on_an_old_view(patch: pytest.MonkeyPatch) -> None:
    """A plan made on a view from before the last write is committed, whatever has changed since."""

    def whatever(tx: Transaction, vm_id: int, _generation: int, _node: str | None) -> Vm:
        vm = tx.vms.get(vm_id)
        assert vm is not None
        return vm

    patch.setattr(CoordinatorState, "view_current", property(lambda state: state.view is not None))
    patch.setattr(coordinator, "_view", _any_view)
    patch.setattr(commit_plan, "_expect", whatever)
    patch.setattr(commit_plan, "_may_leave", lambda *_: True)


def _any_view(state: CoordinatorState, now: float, view: ClusterView, asked_at: float) -> CoordinatorState:
    absent = dict(state.absent_since)
    for node in view.nodes:
        if node.name not in state.members:
            absent.setdefault(node.name, now)
    return replace(state, view=state.view or view, view_asked_at=asked_at, absent_since=absent, view_loading=False)


def forget_who_hosted(patch: pytest.MonkeyPatch) -> None:
    """Absence counts as the coordinator saw it, whatever others let in meanwhile."""
    real = coordinator._view
    patch.setattr(coordinator, "_view", lambda *known: replace(real(*known), hosted_at={}))


def trust_memory_after_a_freeze(patch: pytest.MonkeyPatch) -> None:
    """A coordinator that was stopped goes on counting as if it had watched, and as if it heard what it does not."""
    forget_who_hosted(patch)
    patch.setattr(coordinator, "_deaf", lambda *_: False)
    patch.setattr(coordinator, "stood_still", lambda state, *_: state)


def forget_what_another_began(patch: pytest.MonkeyPatch) -> None:
    """A new coordinator does not go on with a recovery that it did not begin itself."""
    real = coordinator_fencing.attend

    def only_mine(state: CoordinatorState, now: float, node: Node, *rest: Any, **named: Any) -> CoordinatorState:
        if node.state is NodeState.LOST and node.name not in state.fences:
            return state
        return real(state, now, node, *rest, **named)

    patch.setattr(coordinator_rules, "attend", only_mine)


def give_up_the_unplaced(patch: pytest.MonkeyPatch) -> None:
    """Who found no room in a recovery is never tried again."""

    def the_rest(view: ClusterView) -> RecoveryPlan:
        return plan_waiting(replace(view, vms=tuple(v for v in view.vms if not v.unplaced_reason)))

    patch.setattr(coordinator_rules, "plan_waiting", the_rest)


def close_too_early(patch: pytest.MonkeyPatch) -> None:
    """A recovery counts as finished when its VMs are assigned: a second failure in the middle is nobody's."""
    patch.setattr(coordinator_rules, "_finished", lambda *_: True)


def resurrect_the_stopped(patch: pytest.MonkeyPatch) -> None:
    """An agent starts what it has seen running, wanted or not."""
    real = node_agent_rules._one

    def alive(state: NodeAgentState, now: float, vm: Vm, *rest: Any) -> NodeAgentState:
        wanted = vm if vm.desired is Desired.DELETED else replace(vm, desired=Desired.RUNNING, locked=False)
        return real(state, now, wanted, *rest)

    patch.setattr(node_agent_rules, "_one", alive)


def believe_the_pool(patch: pytest.MonkeyPatch) -> None:
    """A pool that took the order to cut a node off counts as having done it: nobody reads it back."""
    patch.setattr(storage_fencing, "_read", lambda *_: (True, "as told"))


def one_pool_is_enough(patch: pytest.MonkeyPatch) -> None:
    """A node counts as cut off when those pools that can do it have done it."""

    def those_that_can(view: ClusterView, node: str, fences: frozenset[str]) -> tuple[str, ...]:
        return tuple(sorted(pools_of(view, node) & fences))

    patch.setattr(coordinator_storage, "pools_to_cut", those_that_can)


def give_the_storage_back_at_once(patch: pytest.MonkeyPatch) -> None:
    """A node gets its storage back as soon as its VMs are planned, before it has cleaned itself."""
    patch.setattr(
        coordinator_storage, "may_have_it_back", lambda n: bool(n.storage_cut) and n.state is not NodeState.LOST
    )
    patch.setattr(storage_fencing, "may_restore", lambda *_: None)


def ignore_the_storm_guard(patch: pytest.MonkeyPatch) -> None:
    """Power is cut however many nodes seem to be lost."""
    patch.setattr(coordinator_fencing, "storm", lambda *_: "")


def ignore_disarming(patch: pytest.MonkeyPatch) -> None:
    """The coordinator goes on while an operator works on the switches, and the services look away."""
    real = coordinator_rules.decide

    def armed(state: CoordinatorState, now: float, settings: CoordinatorSettings) -> Any:
        view = state.view
        if view is None or view.settings.armed:
            return real(state, now, settings)
        blind = replace(state, view=replace(view, settings=replace(view.settings, armed=True)))
        return real(blind, now, settings)

    patch.setattr(coordinator_rules, "decide", armed)
    for room in (incidents, commit_plan):
        patch.setattr(room, "hold_armed_epoch", hold_epoch)


#: each bug with the first seed of the default fault mix that finds it; `tests.bench.mutations` searches anew
FOUND_BY: dict[Mutation, int] = {
    skip_the_proof: 1,
    proof_at_once: 5,
    ignore_the_generation: 1,
    forget_the_epoch: 18,
    resume_on_an_old_reading: 10,
    start_without_quorum: 38,
    feed_the_watchdog_always: 2,
    feed_after_a_restart: 34,
    believe_corosync_for_ever: 74,
    plan_on_an_old_view: 1,
    forget_what_another_began: 2,
    give_up_the_unplaced: 5,
    close_too_early: 5,
    resurrect_the_stopped: 3,
    believe_the_pool: 13,
    give_the_storage_back_at_once: 102,
}


def first_found(mutation: Mutation, seeds: range) -> tuple[int, str]:
    """The first of the seeds that finds the bug, and how; 0 when none does."""
    with pytest.MonkeyPatch.context() as patch:
        mutation(patch)
        for seed in seeds:
            found = run_seed(seed).violation
            if found:
                return seed, found
    return 0, ""
