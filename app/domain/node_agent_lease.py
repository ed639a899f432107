"""The node's side of the heartbeat over storage: its beat, and the lease under which its VMs run on. See there.

Invariant: a lease holds only while this node is outside of the quorate ring, for a counter from after it went there,
and until `lease_seconds` after that counter. Under it nothing is started or taken in: what ran may run.
"""

from app.domain.actions import Action, ResumeVm
from app.domain.events import UP, DomainFact, DomainState, KeepsRead
from app.domain.heartbeat_actions import ReadKeeps, WriteBeat
from app.domain.host_shutdown import stops_vms
from app.domain.node import NodeState
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.replace import replace
from app.domain.storage_heartbeat import Lease


def outside_since(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> float | None:
    """Since when this node is not in a quorate ring, or does not hear that it is; None while it is in one."""
    if not state.quorate:
        return state.quorum_lost_at
    if now - state.ring_alive_at <= settings.ring_silence_seconds:
        return None
    return max(state.ring_alive_at + settings.ring_silence_seconds, state.quorate_at)


def holds(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
    """True while the coordinator lets the VMs of this node run on."""
    since = outside_since(state, now, settings)
    if settings.heartbeat is None or since is None or state.lease.ended_at is not None:
        return False
    began = state.lease.counter / 1000
    return _after(state, since) and began <= now < began + settings.heartbeat.lease_seconds


def _after(state: NodeAgentState, since: float) -> bool:
    """The beat that was echoed began then or later; a counter is in whole milliseconds."""
    return state.lease.counter >= int(since * 1000)


def waits_for_the_first(state: NodeAgentState, now: float, settings: NodeAgentSettings) -> bool:
    """An agent that was started on a node without quorum: the one before it may have had a lease. It does not feed the
    watchdog, and leaves the VMs as they are for the moment that a lease takes; what it paused it could not resume, for
    it has no reading of the database.
    """
    started = state.desired is None and not _after(state, state.quorum_lost_at)
    return settings.heartbeat is not None and started and now - state.quorum_lost_at < settings.first_word_seconds


def alone_since(state: NodeAgentState, settings: NodeAgentSettings) -> float:
    """Since when this node has neither quorum nor a lease: the self-fence counts from there."""
    began = state.lease.counter / 1000
    if settings.heartbeat is None or not _after(state, state.quorum_lost_at):
        return state.quorum_lost_at
    over = began + settings.heartbeat.lease_seconds
    return over if state.lease.ended_at is None else min(over, state.lease.ended_at)


def keeps_read(state: NodeAgentState, now: float, event: KeepsRead) -> NodeAgentState:
    """Obey the highest epoch that was ever read, and no other."""
    state, lease = replace(state, keeps_reading=False), state.lease
    epoch = max([lease.epoch, *(r.epoch for r in event.records)])
    found = next((r for r in event.records if r.epoch == epoch), None)
    if epoch > lease.epoch:
        lease = replace(lease, epoch=epoch)
    if found is None:
        return replace(state, lease=lease)
    keep = found.keeps.get(state.me)
    if keep is not None and keep.boot == event.boot and keep.counter > lease.counter:
        return replace(state, lease=Lease(epoch, keep.counter))
    if state.me in found.revoked and lease.ended_at is None:
        lease = replace(lease, ended_at=now)
    return replace(state, lease=lease)


def run_on(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    """Under a lease: let those go on that were paused when quorum was lost. Nothing else is done to any VM."""
    assert settings.heartbeat is not None
    until = state.lease.counter / 1000 + settings.heartbeat.lease_seconds
    for fact in (state.domains or {}).values():
        if _may_go_on(state, now, fact):
            actions.append(ResumeVm(fact.vm_id, fact.generation, until))
            state = replace(state, working={**state.working, fact.vm_id: "resume"})
    return state


def _may_go_on(state: NodeAgentState, now: float, fact: DomainFact) -> bool:
    """One that was wanted running here when the database was last read, and that no migration or disk error holds."""
    vm = (state.desired or {}).get(fact.vm_id)
    if vm is None or fact.state is not DomainState.PAUSED or fact.paused_by or fact.move is not None:
        return False
    busy = fact.vm_id in state.working or fact.vm_id in state.destroying
    busy = busy or now < state.hold_until.get(fact.vm_id, now)
    listed = state.domains_at >= state.touched_at.get(fact.vm_id, state.domains_at)
    hosts = state.node is not None and state.node.state is NodeState.ONLINE and not stops_vms(state.node)
    wanted = vm.wants_to_run and vm.generation == fact.generation and vm.migrating_to is None
    return hosts and wanted and listed and not busy


def beat(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    """Write the next beat; and outside of the ring read what the coordinator says."""
    times = settings.heartbeat
    if times is None:
        return state
    inside = outside_since(state, now, settings) is None
    if not state.beating and now >= state.beat_due_at:
        up = None if state.domains is None else sum(d.state in UP for d in state.domains.values())
        well = not any(p.startswith("pool") for p in state.problems)
        gave_up = not state.quorate and state.gave_up_at >= state.quorum_lost_at
        actions.append(WriteBeat(int(now * 1000), state.quorate, well, gave_up, up))
        state = replace(
            state, beating=True, beat_due_at=now + (times.beat_seconds if inside else times.beat_seconds / 2)
        )
    if inside or state.keeps_reading or now < state.keeps_due_at:
        return state
    actions.append(ReadKeeps())
    return replace(state, keeps_reading=True, keeps_due_at=now + times.beat_seconds / 2)
