"""Before the power of a lost node is cut its devices are read: is it off already, or only out of the network?

Off is the proof, and the recovery goes on at once. On means to wait: a node that lost its network for a few seconds has
paused its VMs and comes back, and nobody's VM needs a reboot for that. The reading is repeated until the power is cut.
"""

from app.domain.actions import Action, NoteStep
from app.domain.cluster import Incident
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState, begin_write, keep_fence
from app.domain.events import FenceRead
from app.domain.fence_actions import ReadFence
from app.domain.fencing import LOOKED, FenceProgress
from app.domain.node import Node
from app.domain.replace import replace


def look(
    state: CoordinatorState,
    now: float,
    node: Node,
    levels: tuple[str, ...],
    settings: CoordinatorSettings,
    actions: list[Action],
) -> CoordinatorState:
    """Read how the devices of each level stand, unless the power is being cut already."""
    assert state.epoch is not None
    progress = state.fences.get(node.name, FenceProgress())
    if progress.begun:
        return state
    for method in levels:
        if method not in progress.looking and now >= progress.look_due_at.get(method, now):
            actions.append(ReadFence(state.epoch, node.name, method, settings.confirm_seconds_max, now))
            progress = progress.asked_how_it_stands(method, now, settings.times)
    return keep_fence(state, node.name, progress)


def looked(state: CoordinatorState, event: FenceRead, progress: FenceProgress) -> CoordinatorState:
    """A reading ended. Off counts only when it began in the absence that still lasts."""
    if _of_this_absence(state, event.node, event.asked_at):
        return keep_fence(state, event.node, progress.looked(event.method, event.off, event.said))
    return keep_fence(state, event.node, progress.forgot(event.method))


def without_stale(state: CoordinatorState, node: Node, progress: FenceProgress) -> FenceProgress:
    """A proof by reading alone is nothing once the node is a member again, or was one meanwhile."""
    since = progress.read_off_since
    if since is None or _of_this_absence(state, node.name, since):
        return progress
    return replace(progress, proof=None, read_off_since=None)


def note(
    state: CoordinatorState,
    node: Node,
    incident: Incident,
    progress: FenceProgress,
    settings: CoordinatorSettings,
    actions: list[Action],
) -> CoordinatorState:
    """Write down, once, why the power is not cut yet."""
    assert state.epoch is not None
    if not progress.first_look or any(s.what == LOOKED for s in incident.steps):
        return state
    why = f"{progress.first_look}; its power is cut when it has been absent for {settings.blip_seconds:g} s"
    actions.append(NoteStep(state.epoch, node.name, LOOKED, why))
    return begin_write(state, "note", node.name)


def _of_this_absence(state: CoordinatorState, node: str, asked_at: float) -> bool:
    since = state.absent_since.get(node)
    return since is not None and asked_at >= since
