"""The soft fence: an agent that says nothing any more, on a node that Corosync still sees, is started again.

Each agent sends "here" over the ring every second. A node whose signals stop while it stays a member has an agent that
hangs or is gone; its VMs run on, and nobody looks after them. Before anything that hurts a VM that node's API is told,
as a fact: `silent` (the agent is in the agents' group and stands still) or `gone` (it has left). What the API does then
touches no VM. The node's own watchdog counts on meanwhile, and nothing here stops it.

Where that did not help within `soft_fence_wait_seconds`, and the node has VMs that should run, the node counts as lost:
an incident is opened and its power is cut. A node with a watchdog has been reset long before.

What is asked of the silence:

* only an agent that was heard since its node became a member can fall silent: one that boots has not begun;
* it counts only while we listen ourselves: since we are quorate, and since we last stood still or heard nothing;
* a node that has left the membership is not silent but absent: its recovery waits for nothing of this.
"""

from app.domain.actions import Action
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState
from app.domain.fence_actions import SoftFence
from app.domain.host_shutdown import excused
from app.domain.node import Node, NodeState
from app.domain.replace import replace

#: the step of an incident, and the event, that say that the API of a node was told of its agent
SOFT_FENCED = "soft-fence"

#: the kinds of the signal
SILENT, GONE = "silent", "gone"


def silent_seconds(state: CoordinatorState, node: str, now: float) -> float:
    """For how long the agent of that member has said nothing; 0 for one that is absent, or was never heard."""
    heard, present = state.heard_at.get(node), state.present_since.get(node)
    if heard is None or present is None or heard < present or node == state.me:
        return 0.0
    return now - max(heard, state.quorate_since)


def soften(
    state: CoordinatorState, now: float, node: Node, settings: CoordinatorSettings, actions: list[Action]
) -> CoordinatorState:
    """Tell the API of a node whose agent is silent, once for each silence."""
    assert state.epoch is not None
    silent = silent_seconds(state, node.name, now)
    if silent < settings.agent_silence_seconds:
        if node.name not in state.softened:
            return state
        return replace(state, softened={n: at for n, at in state.softened.items() if n != node.name})
    if node.name in state.softened or not _concerned(node):
        return state
    kind = SILENT if node.name in state.group else GONE
    actions.append(SoftFence(state.epoch, node.name, kind, silent))
    return replace(state, softened={**state.softened, node.name: now})


def beyond_help(state: CoordinatorState, now: float, node: Node, settings: CoordinatorSettings) -> bool:
    """True for a member whose agent is silent still, long after its API was told, while it has VMs that should run."""
    told = state.softened.get(node.name)
    if told is None or state.view is None or not _concerned(node) or excused(state.view, node):
        return False
    has_vms = any(v.node == node.name and v.wants_to_run for v in state.view.vms)
    waited = now - told >= settings.soft_fence_wait_seconds
    return waited and has_vms and silent_seconds(state, node.name, now) >= settings.agent_silence_seconds


def _concerned(node: Node) -> bool:
    """Not one that an operator works on, that goes down in order, or that has nothing to lose any more."""
    return node.state is not NodeState.FENCED and not (node.maintenance or node.leaving)
