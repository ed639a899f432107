"""Random failure stories: every invariant at every step, and all is well again in the end.

A hundred here; `./dev test` runs a thousand more with `holdfast simulate`.
"""

import pytest

from app.simulator.random_faults import random_story
from app.simulator.run import run
from app.simulator.scenario import dump_cluster, parse_cluster
from app.simulator.script import parse_script


def _must_hold(seed: int, nodes: int, vms: int) -> None:
    layout, commands = random_story(seed, nodes, vms)
    outcome = run(layout, commands, must_settle=True)
    assert outcome.violation == "", f"replay: holdfast simulate --seeds {seed} --nodes {nodes} --vms {vms}"


@pytest.mark.parametrize("seed", range(1, 81))
def test_three_nodes(seed: int) -> None:
    _must_hold(seed, 3, 6)


@pytest.mark.parametrize("seed", range(1, 21))
def test_five_nodes(seed: int) -> None:
    _must_hold(seed, 5, 10)


def test_the_stories_are_not_harmless() -> None:
    """Faults that touch nothing would prove nothing."""
    text = "".join(run(*random_story(seed)).text for seed in range(1, 101))
    for seen in ("fenced: power", "fenced: watchdog", "cancelled", "start-failed", "pauses", "resumes", "destroys",
                 "its watchdog was not fed", "clean and hosts again", "NO QUORUM", "unplaced", "its agent crashes",
                 "is not well: pool", "apart", "deaf", "signals lost", "database mute", "database stall", "upgrade",
                 "slow", "start fails", "guest dies", "fenced: storage", "ends the agent, which hangs"):  # fmt: skip
        assert seen in text, seen


def test_the_same_seed_tells_the_same_story() -> None:
    assert run(*random_story(7)).text == run(*random_story(7)).text


def test_what_is_printed_replays_the_story() -> None:
    layout, commands = random_story(11)
    again = parse_cluster(dump_cluster(layout), "cluster.toml")
    script = parse_script("".join(f"{c.line()}\n" for c in commands), again, "script.txt")
    assert again == layout
    assert run(again, script).text == run(layout, commands).text
