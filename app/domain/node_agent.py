"""The agent of one node: step(state, now, events) -> (state, actions). The same shape as `coordinator`.

It compares what the database wants of this node (`DesiredLoaded`) with what the hypervisor has (`DomainsListed`) and
closes the gap. The order of the rules is the order of their weight:

1. Not quorate: pause every VM at once; after `self_fence_seconds` destroy them all. A VM's policy may be to destroy
   it at once, or, where its volumes are on this node alone, to keep it: such a one no plan moves.
   A lease that the coordinator gave over the storage (`node_agent_lease`) stands for quorum here and in rule 5, and
   nowhere else.
2. A copy that must not be here (stale generation, other node, unknown VM) is destroyed before anything else.
3. Quorate, this node ONLINE, and the reading of the database younger than the loss: resume, start, stop, remove.
4. Report what was seen.
5. Feed the watchdog, last, and only when healthy: quorate, heard in the ring and let in, or verified to run nothing but
   what is kept.

Corosync's last word counts only while Corosync lives: a daemon that hangs says nothing when the others go on
without it. So the agent sends itself a signal over the ring, and one that comes round shows that the word still stood
when it was sent.

Invariant: nothing is started or resumed but on a reading of the database that began after quorum was (re)gained, is not
older than `lease_seconds`, and shows this node ONLINE and the VM here in this generation.
"""

from collections.abc import Sequence

from app.domain import node_agent_lease as lease
from app.domain import node_agent_moves as moves
from app.domain import node_agent_reboot
from app.domain import node_agent_rules as rules
from app.domain.actions import Action, CheckHealth, FeedWatchdog, ListDomains, LoadDesired, SendSignal
from app.domain.events import (
    BeatWritten,
    DesiredLoaded,
    DomainChanged,
    DomainsListed,
    Event,
    HealthChecked,
    HeartbeatFailed,
    HypervisorLost,
    KeepsRead,
    MembershipChanged,
    RebootAsked,
    Reported,
    SignalReceived,
    StoreLost,
    UpgradeAsked,
    VmWorkDone,
    Written,
)
from app.domain.node_agent_report import report
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.node_agent_work import work_done
from app.domain.replace import replace


def start(me: str, now: float) -> NodeAgentState:
    """The state of an agent that has just come up: it knows nothing, and counts as not quorate since now."""
    return NodeAgentState(me, quorum_lost_at=now, stepped_at=now)


def step(
    state: NodeAgentState, now: float, events: Sequence[Event], settings: NodeAgentSettings
) -> tuple[NodeAgentState, tuple[Action, ...]]:
    """Take in the facts, then act on the level."""
    if now - state.stepped_at > settings.pause_seconds_max:
        # What was read before the pause counts no more; see `fencing` for why the watchdog must wait.
        state = replace(state, quorate_at=now, desired_wanted=True, unsure_until=now + settings.pause_settle_seconds)
    state = replace(state, stepped_at=now)
    for event in events:
        state = _take_in(state, now, event, settings)
    actions: list[Action] = []
    state = rules.guard_quorum(state, now, settings, actions)
    state = rules.destroy_stale(state, now, actions)
    state = rules.notice_ends(state, now, settings)
    state = rules.reconcile(state, now, settings, actions)
    state = rules.rejoin(state, now, actions)
    state = node_agent_reboot.reboot(state, now, settings, actions)
    state = node_agent_reboot.upgrade(state, now, settings, actions)
    state = report(state, now, settings, actions)
    state = _look(state, now, settings, actions)
    state = lease.beat(state, now, settings, actions)
    if rules.may_feed(state, now, settings):
        actions.append(FeedWatchdog())
    return state, tuple(actions)


def _take_in(state: NodeAgentState, now: float, event: Event, settings: NodeAgentSettings) -> NodeAgentState:
    match event:
        case MembershipChanged(_, quorate):
            return _quorum(replace(state, ring_asked_at=float("-inf")), now, quorate)
        case SignalReceived(_, "look"):
            return replace(state, desired_wanted=True)
        case SignalReceived(sender, "here", _, sent_at) if sender == state.me:
            return _heard_in_the_ring(state, now, sent_at / 1000, settings)
        case DomainChanged():
            return replace(state, domains_wanted=True)
        case DomainsListed(domains):
            listed = {d.vm_id: d for d in domains}
            rest = min(settings.domains_rest * (now - state.listing_at), settings.domains_interval_seconds)
            state = replace(
                state, domains=listed, domains_at=state.listing_at, listing=False, hypervisor_error="",
                domains_due_at=max(state.domains_due_at, now + rest if state.quorate else now),
            )  # fmt: skip
            return moves.listed(state, now)
        case HypervisorLost(error):
            return replace(state, domains=None, listing=False, hypervisor_error=error)
        case DesiredLoaded(node, vms, asked_at, incoming, gates, armed):
            state = replace(
                state, node=node, desired={v.id: v for v in vms}, desired_at=asked_at, loading=False, report_due=True,
                store_error="", incoming={v.id: v for v in incoming}, gates=gates, armed=armed,
                gated_since={vm_id: state.gated_since.get(vm_id, now) for vm_id in gates},
            )  # fmt: skip
            return moves.desired(state)
        case VmWorkDone():
            return work_done(state, now, event, settings)
        case HealthChecked(problems, database):
            return replace(state, problems=problems, database=database, checking=False)
        case RebootAsked(error):
            return replace(state, reboot_error=error, report_due=True)
        case UpgradeAsked(error):
            return replace(state, upgrade_error=error, report_due=True)
        case BeatWritten() | HeartbeatFailed("beat"):
            return replace(state, beating=False)
        case KeepsRead():
            return lease.keeps_read(state, now, event)
        case HeartbeatFailed("lease"):
            return replace(state, keeps_reading=False)
        case Reported():
            return replace(state, reporting=False, desired_wanted=True, report_confirmed=True, report_ended_at=now)
        case Written("rejoin"):
            return replace(state, rejoining=False, desired_wanted=True)
        case Written(what) if what.startswith("move-"):
            return moves.written(state, now, int(what.removeprefix("move-")), known=True)
        case StoreLost(what, error) if what.startswith("move-"):
            lost = replace(state, store_error=error, store_retry_at=now + settings.store_retry_seconds)
            return moves.written(lost, now, int(what.removeprefix("move-")), known=False)
        case StoreLost(what, error) if what in ("desired", "report", "rejoin"):
            flags = {"desired": "loading", "report": "reporting", "rejoin": "rejoining"}
            lost = replace(state, store_error=error, store_retry_at=now + settings.store_retry_seconds)
            ended = now if what == "report" else state.report_ended_at
            return replace(lost, report_ended_at=ended, **{flags[what]: False})
        case _:
            return state


def _heard_in_the_ring(
    state: NodeAgentState, now: float, sent_at: float, settings: NodeAgentSettings
) -> NodeAgentState:
    """Our own signal came round. After a silence it is only now that we are known to be in the ring again.

    Corosync's last word may have said all the while that we are quorate: a daemon that stood still did not know better.
    Others may have decided about our VMs until now, so what was read before this moment counts no more.
    """
    if not rules.ring_alive(state, now, settings):
        state = replace(state, quorate_at=now, desired_wanted=True)
    return replace(state, ring_alive_at=max(state.ring_alive_at, sent_at))


def _quorum(state: NodeAgentState, now: float, quorate: bool) -> NodeAgentState:
    if quorate == state.quorate and state.quorum_known:
        return state
    if quorate:
        return replace(
            state,
            quorate=True,
            quorum_known=True,
            quorate_at=now,
            desired_wanted=True,
        )
    return replace(
        state, quorate=False, quorum_known=True, quorum_lost_at=now if state.quorate else state.quorum_lost_at,
        beat_due_at=now,
    )  # fmt: skip


def _look(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    if state.quorate and now - state.ring_asked_at >= settings.ring_interval_seconds:
        # It says when it was sent, in milliseconds: only that much is known when it comes round.
        actions.append(SendSignal("here", epoch=int(now * 1000)))
        state = replace(state, ring_asked_at=now)
    if state.tell_wanted:
        actions.append(SendSignal("look"))
        state = replace(state, tell_wanted=False)
    if not state.listing and (state.domains_wanted or now >= state.domains_due_at):
        actions.append(ListDomains())
        pause = settings.domains_fast_seconds if rules.in_a_hurry(state) else settings.domains_interval_seconds
        state = replace(state, listing=True, listing_at=now, domains_wanted=False, domains_due_at=now + pause)
    if not state.checking and now >= state.health_due_at:
        actions.append(CheckHealth())
        state = replace(state, checking=True, health_due_at=now + settings.health_interval_seconds)
    due = state.desired_wanted or now >= state.desired_due_at
    if state.quorate and not state.loading and due and now >= state.store_retry_at:
        actions.append(LoadDesired())
        due_at = now + (settings.gated_interval_seconds if state.gates else settings.desired_interval_seconds)
        state = replace(state, loading=True, desired_wanted=False, desired_due_at=due_at)
    return state
