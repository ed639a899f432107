"""Each test puts one bug into the heartbeat over storage. The simulator must find it: else its silence means little."""

from pathlib import Path

import pytest

from app.simulator.layout import Layout, NodeLayout, VmLayout
from app.simulator.many import run_seed
from app.simulator.random_faults import random_story
from app.simulator.run import run
from app.simulator.scenario import load_scenario
from app.simulator.script import parse_script
from tests.simulation.heartbeat_mutations import (
    HEARTBEAT_BUGS,
    feed_while_it_beats,
    keep_on_while_it_waits,
    lease_without_end,
    obey_any_epoch,
    time_proves_in_spite_of_keeps,
)
from tests.simulation.mutations import Mutation

SCENARIOS = Path(__file__).parents[1] / "scenarios"
TOO_LONG = "isolated_for_too_long_without_a_fence_device"
ALONE = "isolated_node_loses_its_storage_and_has_no_fence_device"


def _found(seeds: range) -> tuple[int, str]:
    for seed in seeds:
        if random_story(seed)[0].heartbeat and (how := run_seed(seed).violation):
            return seed, how
    return 0, ""


@pytest.mark.parametrize(("mutation", "seed"), HEARTBEAT_BUGS.items(), ids=[m.__name__ for m in HEARTBEAT_BUGS])
def test_random_faults_find_it(mutation: Mutation, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed that found it first does again, or one soon after it where other changes have moved the dice."""
    mutation(monkeypatch)
    found, how = _found(range(seed, seed + 400))
    assert how, f"{mutation.__doc__} None of 400 seeds finds it: search anew"
    assert found <= 1000


def _violation(name: str) -> str:
    scenario = load_scenario(SCENARIOS / name)
    return run(scenario.layout, scenario.commands, must_settle=True).violation


def test_a_lease_without_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    lease_without_end(monkeypatch)
    assert "without a lease" in _violation(ALONE)


def test_a_proof_by_time_that_ignores_the_keeps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    time_proves_in_spite_of_keeps(monkeypatch)
    assert "is said to be fenced by watchdog, and VMs [3, 4] are up" in _violation(ALONE)


def test_keeps_that_go_on_while_the_coordinator_waits_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_on_while_it_waits(monkeypatch)
    assert "is said to be fenced by watchdog, and VMs [3, 4] are up" in _violation(TOO_LONG)


def test_a_watchdog_that_is_fed_while_the_storage_takes_beats_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    feed_while_it_beats(monkeypatch)
    assert "without a lease" in _violation("isolated_nodes_are_not_kept")


FIVE = Layout(tuple(NodeLayout(f"n{i}") for i in range(1, 6)), (VmLayout("vm1", node="n5"),), heartbeat=True)
RIVALS = """
1s fence fails n5 -1
20s cut n5
30s signals lost 100  # n2 hears nobody lead, and takes over; n1 does not hear of it at once
37.3s heartbeat lost n2  # it said its epoch, and says no more
39s signals work
70s heartbeat works n2
80s heal
85s fence works n5
86s power on n5
130s rest
"""


def test_a_keep_of_a_coordinator_that_was_replaced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = parse_script(RIVALS, FIVE, "script")
    assert run(FIVE, commands, must_settle=True).violation == ""
    obey_any_epoch(monkeypatch)
    assert "without a lease" in run(FIVE, commands, must_settle=True).violation
