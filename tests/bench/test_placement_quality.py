"""The plans against a proven optimum; `./dev bench` does the same with 500 recoveries."""

from itertools import count, islice
from random import Random

from app.domain.cluster import ClusterView
from app.domain.recovery import unplaced_after
from tests.bench.hard_recoveries import (
    FAILED,
    hard_recoveries,
    least_stranded_mib,
    stranded_by_reference_mib,
    total_mib,
)

LOST = frozenset({FAILED})


def test_hard_recoveries_strand_no_more_than_the_optimum_and_the_reference_does() -> None:
    views = list(islice(hard_recoveries(count(1)), 30))
    best = [least_stranded_mib(v) for v in views]
    plans = [total_mib(unplaced_after(v, LOST)) for v in views]
    reference = [stranded_by_reference_mib(v) for v in views]
    assert all(p >= b for p, b in zip(plans, best, strict=True)), "nothing is better than the optimum"
    assert sum(p == b for p, b in zip(plans, best, strict=True)) >= 29
    assert sum(r > b for r, b in zip(reference, best, strict=True)) >= 15, "these recoveries are not hard"


def test_the_order_of_the_rows_changes_nothing() -> None:
    for view in islice(hard_recoveries(count(1000)), 5):
        random = Random(1)
        mixed = ClusterView(
            tuple(random.sample(view.nodes, len(view.nodes))), tuple(random.sample(view.vms, len(view.vms))), epoch=1
        )
        assert {v.id for v in unplaced_after(view, LOST)} == {v.id for v in unplaced_after(mixed, LOST)}
