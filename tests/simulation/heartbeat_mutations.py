"""Deliberate bugs in the heartbeat over storage, as those of `mutations`."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain import coordinator_heartbeat, node_agent_lease, node_agent_rules
from app.domain.coordinator_state import CoordinatorState
from app.domain.events import KeepsRead
from app.domain.node import Node
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.storage_heartbeat import Lease
from tests.simulation.mutations import Mutation


def lease_without_end(patch: pytest.MonkeyPatch) -> None:
    """A node that was kept once runs on until it is quorate again."""

    def holds(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
        since = node_agent_lease.outside_since(state, now, settings)
        return since is not None and state.lease.counter / 1000 > since

    patch.setattr(node_agent_lease, "holds", holds)


def lease_of_an_earlier_isolation(patch: pytest.MonkeyPatch) -> None:
    """What was echoed before the node was last quorate counts still."""

    def holds(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
        outside = node_agent_lease.outside_since(state, now, settings) is not None
        return outside and now < state.lease.counter / 1000 + 10.0

    patch.setattr(node_agent_lease, "holds", holds)


def time_proves_in_spite_of_keeps(patch: pytest.MonkeyPatch) -> None:
    """The coordinator waits for the watchdog, and not for the lease that it gave."""

    def absent(state: CoordinatorState, node: Node, *_: Any) -> float | None:
        return state.absent_since.get(node.name)

    patch.setattr(coordinator_heartbeat, "quiet_since", absent)


def obey_any_epoch(patch: pytest.MonkeyPatch) -> None:
    """A node takes the newest echo of its beat, whoever wrote it."""

    def read(state: NodeAgentState, _now: float, event: KeepsRead) -> NodeAgentState:
        mine = [r.keeps[state.me].counter for r in event.records if state.me in r.keeps]
        counter = max(mine, default=-1)
        lease = Lease(0, counter) if counter > state.lease.counter else state.lease
        return replace(state, keeps_reading=False, lease=lease)

    patch.setattr(node_agent_lease, "keeps_read", read)


def feed_while_it_beats(patch: pytest.MonkeyPatch) -> None:
    """A node feeds its watchdog as long as the storage takes its beats."""
    real = node_agent_rules.may_feed

    def feed(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
        return real(state, now, settings) or (settings.heartbeat is not None and not state.beating)

    patch.setattr(node_agent_rules, "may_feed", feed)


def keep_before_it_is_written(patch: pytest.MonkeyPatch) -> None:
    """The coordinator keeps a node that beats before its incident says so: the next one does not know."""
    real = coordinator_heartbeat._keeps

    def at_once(state: CoordinatorState, now: float, times: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(coordinator_heartbeat, "was_kept", lambda _incident: True)
            inner.setattr(coordinator_heartbeat, "_ended", lambda *_: False)
            return real(state, now, times)

    patch.setattr(coordinator_heartbeat, "_keeps", at_once)


def keep_on_while_it_waits(patch: pytest.MonkeyPatch) -> None:
    """A node whose keep has ended is still told that it may run on, and nobody remembers when that was."""
    real = coordinator_heartbeat._keeps

    def still(state: CoordinatorState, now: float, times: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(coordinator_heartbeat, "_ended", lambda *_: False)
            inner.setattr(
                coordinator_heartbeat, "_why_not", lambda s, n, *_: "" if n.name in s.beats.seen else "unseen"
            )
            return real(state, now, times)

    def first_only(state: CoordinatorState, *rest: Any) -> CoordinatorState:
        after = keep_beats(state, *rest)
        acked = {**after.beats.acked_at, **state.beats.acked_at}
        return replace(after, beats=replace(after.beats, acked_at=acked))

    keep_beats = coordinator_heartbeat.keep_beats
    patch.setattr(coordinator_heartbeat, "_keeps", still)
    patch.setattr(coordinator_heartbeat, "keep_beats", first_only)


#: each bug with the first seed of the default fault mix that finds it
HEARTBEAT_BUGS: dict[Mutation, int] = {
    lease_without_end: 20,
    lease_of_an_earlier_isolation: 61,
    time_proves_in_spite_of_keeps: 20,
    obey_any_epoch: 300,
    feed_while_it_beats: 1,
    keep_before_it_is_written: 26,
    keep_on_while_it_waits: 174,
}
