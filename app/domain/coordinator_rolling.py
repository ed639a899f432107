"""The coordinator drives a rolling reboot, by level: one write a view, after everything that is more urgent."""

from app.domain.actions import Action, AdvanceRolling
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState
from app.domain.replace import replace
from app.domain.rolling_steps import next_turn


def decide_rolling(state: CoordinatorState, settings: CoordinatorSettings, actions: list[Action]) -> CoordinatorState:
    """Nothing while anything else is being written: what it rests on must be what is."""
    if state.view is None or state.epoch is None or state.writing or state.view.rolling is None:
        return state
    turn = next_turn(state.view, frozenset(state.absent_since), settings.rolling)
    if turn is None:
        return state
    actions.append(AdvanceRolling(state.epoch, turn))
    return replace(state, writing=state.writing | {"rolling:"})
