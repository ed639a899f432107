"""How fast random failure stories run, on all cores: the figure that says what a night of simulation is worth."""

from app.simulator.many import run_seeds

SEEDS = range(1, 121)


def run() -> dict[str, float]:
    """Virtual hours of a three-node cluster, and stories, for each second of real time."""
    tally = run_seeds(SEEDS)
    assert not tally.violations, tally.violations
    return {
        "simulation_virtual_hours_per_second": tally.virtual_hours_per_second,
        "simulation_seeds_per_second": tally.seeds_per_second,
    }
