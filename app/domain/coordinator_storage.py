"""What a leading coordinator does with the fences of the pools: cut, read, and give back.

The node's row says from which pools it is cut off, and is written before the cut begins. So a coordinator that comes
new to it knows, and no node is left without its storage.

Invariants:
* a node gets its storage back only when nobody else may have its VMs: it was let in, or it has attested that nothing
  of before runs there, or it came back before there was a proof;
* no plan is made on a storage proof that was not read again, with the pools that its VMs have now.
"""

from app.domain.actions import Action
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState
from app.domain.events import StorageRestored
from app.domain.fence_actions import CutStorage, ReadStorage, RestoreStorage
from app.domain.node import Node, NodeState
from app.domain.replace import replace
from app.domain.storage_fencing import pools_to_cut


def pools_cut_for(state: CoordinatorState, node: Node, settings: CoordinatorSettings) -> tuple[str, ...]:
    """What to cut this node off from; none where that would prove nothing."""
    assert state.view is not None
    return pools_to_cut(state.view, node.name, settings.storage_fences)


def cut(state: CoordinatorState, node: Node, settings: CoordinatorSettings) -> CutStorage:
    """Cut it off, as long as a fence may take."""
    assert state.epoch is not None
    pools = pools_cut_for(state, node, settings)
    return CutStorage(state.epoch, node.name, node.address, pools, settings.times.attempt_timeout_seconds)


def read(state: CoordinatorState, now: float, node: Node, settings: CoordinatorSettings) -> ReadStorage:
    """Read whether it is cut off from all that its VMs use now."""
    assert state.epoch is not None
    pools = pools_cut_for(state, node, settings)
    return ReadStorage(state.epoch, node.name, node.address, pools, settings.confirm_seconds_max, now)


def give_back(
    state: CoordinatorState, now: float, node: Node, settings: CoordinatorSettings, actions: list[Action]
) -> CoordinatorState:
    """Undo the cut of this node's row; the caller knows that it may."""
    assert state.epoch is not None
    if now < state.restores.get(node.name, now) or not set(node.storage_cut) <= settings.storage_fences:
        return state
    seconds = settings.times.attempt_timeout_seconds
    actions.append(RestoreStorage(state.epoch, node.name, node.address, node.storage_cut, node.storage_token, seconds))
    return replace(state, restores={**state.restores, node.name: float("inf")})


def may_have_it_back(node: Node) -> bool:
    """True for a node that is let in, or is clean and waits for it."""
    clean = node.state is NodeState.FENCED and node.cleaned
    return bool(node.storage_cut) and (node.state is NodeState.ONLINE or clean)


def restored(
    state: CoordinatorState, now: float, event: StorageRestored, settings: CoordinatorSettings
) -> CoordinatorState:
    """An attempt to give it back ended."""
    if event.node not in state.restores:
        return state
    if event.error:
        return replace(state, restores={**state.restores, event.node: now + settings.times.retry_seconds})
    left = {n: at for n, at in state.restores.items() if n != event.node}
    return replace(state, restores=left, written_at=now, view_wanted=True)
