"""Many random stories on all cores. The result of a seed does not depend on how many run beside it."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context

from app.simulator.random_faults import random_story
from app.simulator.run import run


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One story: its violation (empty: none) and the virtual seconds that passed."""

    seed: int
    violation: str
    virtual_seconds: float


@dataclass
class Tally:
    """What many stories came to. `seconds` is real time."""

    seeds: int = 0
    virtual_seconds: float = 0.0
    seconds: float = 0.0
    violations: list[SeedResult] = field(default_factory=list)

    @property
    def virtual_hours_per_second(self) -> float:
        """How fast: virtual hours of a cluster for each second of ours."""
        return self.virtual_seconds / 3600 / self.seconds if self.seconds else 0.0

    @property
    def seeds_per_second(self) -> float:
        """The same in stories."""
        return self.seeds / self.seconds if self.seconds else 0.0


def run_seed(seed: int, nodes: int = 3, vms: int = 6) -> SeedResult:
    """The story of that seed."""
    outcome = run(*random_story(seed, nodes, vms), must_settle=True)
    return SeedResult(seed, outcome.violation, outcome.seconds)


def run_seeds(
    seeds: range, nodes: int = 3, vms: int = 6, *, jobs: int = 0, each: Callable[[Tally], None] = lambda _tally: None
) -> Tally:
    """All of them in `jobs` processes (0: one for each core). `each` sees the tally after each story."""
    tally, began = Tally(), time.monotonic()
    for result in _results(seeds, nodes, vms, jobs or os.cpu_count() or 1):
        tally.seeds += 1
        tally.virtual_seconds += result.virtual_seconds
        tally.seconds = time.monotonic() - began
        if result.violation:
            tally.violations.append(result)
            tally.violations.sort(key=lambda r: r.seed)
        each(tally)
    return tally


def _results(seeds: range, nodes: int, vms: int, jobs: int) -> Iterator[SeedResult]:
    one = partial(run_seed, nodes=nodes, vms=vms)
    if jobs == 1 or len(seeds) < 2:
        yield from map(one, seeds)
        return
    # Forked: what a test has changed in this process is changed in the others too.
    with get_context("fork").Pool(min(jobs, len(seeds))) as pool:
        yield from pool.imap_unordered(one, seeds, chunksize=4)
