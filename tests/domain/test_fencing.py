"""The chain of proofs: what counts as a proof, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.cluster import Proof, Step
from app.domain.fencing import (
    CONFIRMED,
    REFUSED,
    VOID,
    FenceProgress,
    FencingTimes,
    distrusted,
    methods_due,
    proof_by_time,
    word_of_operator,
)
from tests.domain.make import WHEN, incident

TIMES = FencingTimes(self_fence_seconds=5, detection_skew_seconds=2, retry_seconds=1)
OFF = Proof("power", "status off")


# -- time


@pytest.mark.parametrize(
    ("absent", "watchdog", "proven"),
    [
        (0.0, 10.0, False),
        (10.0, 10.0, False),
        (12.0, 10.0, False),
        (12.1, 10.0, True),
        (1e9, None, False),
    ],
    ids=["just gone", "watchdog may have expired", "to the tick", "watchdog and skew are over", "no watchdog: never"],
)
def test_time_proves_only_past_watchdog_and_skew(absent: float, watchdog: float | None, proven: bool) -> None:
    proof = proof_by_time(absent, watchdog, TIMES)
    assert (proof is not None) == proven
    if proof is not None:
        assert proof.method == "watchdog"
        assert "absent for 12.1 s" in proof.saw


@given(
    watchdog=st.floats(1, 60),
    skew=st.floats(0.1, 10),
    lost_at=st.floats(0, 100),
    noticed_early=st.floats(0, 1),
    absent=st.floats(0, 300),
)
def test_at_a_proof_by_time_the_node_has_been_reset(
    watchdog: float, skew: float, lost_at: float, noticed_early: float, absent: float
) -> None:
    """The theory of the module: it fed last at `lost_at`; the coordinator noticed up to one skew earlier."""
    times = FencingTimes(detection_skew_seconds=skew)
    noticed_at = lost_at - skew * noticed_early
    if proof_by_time(absent, watchdog, times) is not None:
        assert noticed_at + absent >= lost_at + watchdog - 1e-9


def test_figures_that_would_break_the_proof_are_refused() -> None:
    TIMES.check(10.0)
    TIMES.check(None)
    with pytest.raises(ValueError, match="must be smaller than the watchdog timeout"):
        TIMES.check(5.0)
    with pytest.raises(ValueError, match="greater than 0"):
        FencingTimes(detection_skew_seconds=0).check(10.0)
    with pytest.raises(ValueError, match="greater than 0"):
        FencingTimes(self_fence_seconds=0).check(10.0)


# -- methods


LEVELS, BESIDE = ("power", "power2"), ("storage",)


def test_one_level_and_all_beside_it_are_started_at_once_and_none_twice() -> None:
    assert methods_due(FenceProgress(), LEVELS, BESIDE, now=0) == ("power", "storage")
    assert methods_due(FenceProgress(in_flight=frozenset({"power"})), LEVELS, BESIDE, now=0) == ("storage",)
    assert methods_due(FenceProgress(in_flight=frozenset({"storage"})), LEVELS, BESIDE, now=0) == ("power",)


def test_the_next_level_follows_at_once_when_one_has_failed_and_after_the_last_the_first_again() -> None:
    progress, asked, now = FenceProgress(), [], 0.0
    for _ in range(6):
        (method,) = methods_due(progress, LEVELS, (), now)
        asked.append(method)
        progress = progress.attempted(method, None, now, TIMES)
        now += 0.5 if method == "power" else TIMES.retry_seconds
    assert asked == ["power", "power2"] * 3


def test_a_method_that_failed_is_tried_again_after_the_pause_and_for_ever() -> None:
    progress = FenceProgress(in_flight=frozenset({"power"}))
    for tries in range(1, 50):
        progress = progress.attempted("power", None, now=tries * 10, times=TIMES)
        assert progress.failures == tries
        assert progress.proof is None
        assert methods_due(progress, ("power",), (), now=tries * 10 + 0.9) == ()
        assert methods_due(progress, ("power",), (), now=tries * 10 + 1) == ("power",)


@given(st.lists(st.sampled_from(["void", "confirmed", "refused", "other"]), max_size=8))
def test_an_operators_word_counts_until_it_is_refused_or_proven_false(told: list[str]) -> None:
    names = {"void": VOID, "confirmed": CONFIRMED, "refused": REFUSED, "other": "fence-failed"}
    steps = tuple(Step(WHEN, names[t], "op: I pulled its plug") for t in told)
    said = word_of_operator(incident("n3", steps=steps)) != ""
    relevant = [t for t in told if t != "other"]
    assert said == (bool(relevant) and relevant[-1] == "confirmed")


def test_a_method_whose_proof_was_false_is_believed_no_more() -> None:
    one = incident("n3", steps=(Step(WHEN, VOID, "power: it reads on again"), Step(WHEN, "note", "storage: x")))
    assert distrusted(one) == {"power"}


def test_the_first_proof_is_kept_and_a_later_failure_does_not_take_it_away() -> None:
    progress = FenceProgress().attempted("power", OFF, now=1, times=TIMES)
    progress = progress.attempted("storage", Proof("storage", "blocklisted"), now=2, times=TIMES)
    progress = progress.attempted("power", None, now=3, times=TIMES)
    assert progress.proof == OFF


_attempts = st.lists(st.tuples(st.sampled_from(["power", "storage"]), st.booleans()), max_size=20)


@given(_attempts)
def test_there_is_a_proof_exactly_when_some_attempt_saw_the_node_off(attempts: list[tuple[str, bool]]) -> None:
    progress = FenceProgress(in_flight=frozenset({"power", "storage"}))
    for at, (method, saw_off) in enumerate(attempts):
        progress = progress.attempted(method, Proof(method, "off") if saw_off else None, at, TIMES)
    proofs = [method for method, saw_off in attempts if saw_off]
    assert (progress.proof.method if progress.proof else None) == (proofs[0] if proofs else None)
    assert progress.failures == len(attempts) - len(proofs)
