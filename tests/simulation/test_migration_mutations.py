"""Each test puts one bug into the migration. The simulator must find it: else its silence means little."""

from pathlib import Path
from typing import Any

import pytest

from app.adapters.sim.moves import SimMoves
from app.domain import node_agent_moves
from app.domain.migration import MoveEnd
from app.domain.node_agent_state import NodeAgentState
from app.domain.vm import Vm
from app.simulator.run import run
from app.simulator.scenario import load_scenario

SCENARIOS = Path(__file__).parents[1] / "scenarios"


def _violation(name: str) -> str:
    scenario = load_scenario(SCENARIOS / name)
    return run(scenario.layout, scenario.commands, must_settle=True).violation


def test_a_recovery_in_the_generation_of_the_passenger_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target then takes the old copy for the one that the recovery wants there."""
    monkeypatch.setattr(Vm, "next_generation", property(lambda vm: vm.generation + 1))
    assert "older than its disk" in _violation("migration_leaves_an_old_copy")


def test_a_passenger_that_goes_on_by_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """libvirt without VIR_MIGRATE_PAUSED."""
    hand_over = SimMoves._hand_over

    def and_resume(moves: SimMoves, job: Any) -> bool:
        over = hand_over(moves, job)
        job.target.resume(job.passenger.spec.vm_id, job.passenger.spec.generation)
        return over

    monkeypatch.setattr(SimMoves, "_hand_over", and_resume)
    assert "its row has 1" in _violation("drain")
    assert _violation("migration_leaves_an_old_copy") != ""


@pytest.mark.parametrize("name", ["migration_leaves_an_old_copy", "drain"])
def test_a_hand_over_that_nobody_saw_is_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The node says that it handed its copy over when the migration has ended somehow, or has only begun."""
    end = node_agent_moves._end

    def too_soon(state: NodeAgentState, now: float, vm: Vm, *_: Any) -> NodeAgentState:
        del now
        return end(state, vm, MoveEnd.FINISHED, "", _[-1])

    monkeypatch.setattr(node_agent_moves, "_watch", too_soon)
    assert "was taken from n1" in _violation(name)
