"""The chain of proofs: what counts as a proof, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.cluster import Proof
from app.domain.fencing import FenceProgress, FencingTimes, methods_due, proof_by_time

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


def test_all_methods_are_started_at_once_and_none_twice() -> None:
    assert methods_due(FenceProgress(), ("power", "storage"), now=0) == ("power", "storage")
    assert methods_due(FenceProgress(in_flight=frozenset({"power"})), ("power", "storage"), now=0) == ("storage",)


def test_a_method_that_failed_is_tried_again_after_the_pause_and_for_ever() -> None:
    progress = FenceProgress(in_flight=frozenset({"power"}))
    for tries in range(1, 50):
        progress = progress.attempted("power", None, now=tries * 10, times=TIMES)
        assert progress.failures == tries
        assert progress.proof is None
        assert methods_due(progress, ("power",), now=tries * 10 + 0.9) == ()
        assert methods_due(progress, ("power",), now=tries * 10 + 1) == ("power",)


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
