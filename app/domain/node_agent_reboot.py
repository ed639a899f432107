"""An agent reboots its own node, or upgrades its package, because a rolling run asks for it (`rolling_steps`).

Only when nothing is up here and nothing is on its way, by the same young evidence that a start needs; and only the boot
that was to end: what the database says may be from before the reboot, so the engine compares it with the boot it is in;
as it compares the version that is wanted with its own.
"""

from app.domain.actions import Action, RebootNode, UpgradeNode
from app.domain.events import UP
from app.domain.node_agent_rules import may_host
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.replace import replace


def reboot(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    """Ask once, and again after a while in case that went unheard."""
    node = state.node
    if node is None or not node.reboot_of or now < state.reboot_asked_at + settings.reboot_retry_seconds:
        return state
    if not state.armed or not may_host(state, now, settings) or not _idle(state):
        return state
    actions.append(RebootNode(node.reboot_of))
    return replace(state, reboot_asked_at=now)


def upgrade(state: NodeAgentState, now: float, settings: NodeAgentSettings, actions: list[Action]) -> NodeAgentState:
    """Ask again and again, until it has happened or is refused. Taken back, a refusal is forgotten."""
    node = state.node
    if node is None or not node.upgrade_to:
        return replace(state, upgrade_asked_at=float("-inf"), upgrade_error="") if state.upgrade_asked_at > 0 else state
    if now < state.upgrade_asked_at + settings.upgrade_look_seconds or state.upgrade_error:
        return state
    if node.version == node.upgrade_to:
        return state
    if not state.armed or not may_host(state, now, settings) or not _idle(state):
        return state
    actions.append(UpgradeNode(node.upgrade_to))
    return replace(state, upgrade_asked_at=now)


def _idle(state: NodeAgentState) -> bool:
    busy = state.working or state.destroying or state.moves or state.incoming
    up = any(fact.state in UP for fact in (state.domains or {}).values())
    return not (busy or up or any(vm.wants_to_run for vm in (state.desired or {}).values()))
