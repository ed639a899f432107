"""Which path is chosen, and when: the table of storage_path.py, then its invariants under anything that can be seen."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.storage_path import (
    CarrierSeen,
    Observation,
    PathDecision,
    PathPhase,
    PathSettings,
    PathsState,
    PathState,
    ProbeSeen,
    choose_path,
    phase_of,
    start_state,
)

SETTINGS = PathSettings(probe_misses_max=3, failback_seconds=10, flap_window_seconds=100, flap_max=3)
NAMES = ("ib0", "eth1", "eth2")


class Story:
    """Feeds one state through the decision and remembers the last one."""

    def __init__(self, active: str = "ib0", names: Sequence[str] = ("ib0", "eth1"), now: float = 0.0) -> None:
        self.state: PathsState = start_state(names, active, now)
        self.decision = PathDecision(active, False, "")

    def at(self, now: float, *seen: Observation) -> str | None:
        self.state, self.decision = choose_path(self.state, seen, now, SETTINGS)
        return self.decision.active

    def switched(self) -> bool:
        return self.decision.switched

    def path(self, name: str) -> PathState:
        return next(p for p in self.state.paths if p.name == name)

    def phase(self, name: str, now: float) -> PathPhase:
        return phase_of(self.path(name), now, SETTINGS)


def lost(path: str) -> tuple[Observation, ...]:
    return (ProbeSeen(path, None),) * 3


def test_a_lost_carrier_counts_at_once_and_missed_probes_when_there_are_enough() -> None:
    story = Story()
    assert story.at(1, ProbeSeen("ib0", None), ProbeSeen("ib0", None)) == "ib0"
    assert story.at(1.25, ProbeSeen("ib0", 0.2), ProbeSeen("ib0", None), ProbeSeen("ib0", None)) == "ib0"
    assert story.at(1.5, ProbeSeen("ib0", None)) == "eth1"
    assert (story.decision.switched, story.decision.reason) == (True, "ib0: no answer to probes")
    story = Story()
    assert story.at(1, CarrierSeen("ib0", False)) == "eth1"
    assert story.decision.reason == "ib0: no carrier"


def test_a_path_comes_back_only_with_an_answer_and_is_taken_only_after_its_delay() -> None:
    story = Story()
    story.at(1, CarrierSeen("ib0", False))
    story.at(2, CarrierSeen("ib0", True))
    assert story.phase("ib0", 2) is PathPhase.DOWN, "a carrier alone proves nothing"
    assert story.at(3, ProbeSeen("ib0", 0.1)) == "eth1"
    assert story.phase("ib0", 3) is PathPhase.SETTLING
    assert story.at(12.9) == "eth1"
    assert story.at(13) == "ib0"
    assert story.decision.reason == "ib0 works again and is preferred to eth1"


def test_the_delay_begins_again_with_every_failure() -> None:
    story = Story()
    story.at(1, *lost("ib0"))
    story.at(2, ProbeSeen("ib0", 0.1))
    story.at(11, *lost("ib0"))
    story.at(11.5, ProbeSeen("ib0", 0.1))
    assert story.at(21.4) == "eth1"
    assert story.at(21.5) == "ib0"


def test_a_path_that_keeps_failing_is_held_until_it_is_calm() -> None:
    story = Story()
    for at in (0, 20, 40):
        story.at(at, *lost("ib0"))
        story.at(at + 1, ProbeSeen("ib0", 0.1))
    assert story.phase("ib0", 60) is PathPhase.HELD
    assert story.at(99.9) == "eth1", "three failures in the last 100 s"
    assert story.at(100) == "ib0", "the first of them is out of the window, and it has settled long ago"


def test_a_held_path_is_better_than_none_and_a_settling_one_better_than_a_held_one() -> None:
    story = Story(names=NAMES, active="eth1")
    for at in (0, 1, 2):
        story.at(at, *lost("ib0"))
        story.at(at + 0.5, ProbeSeen("ib0", 0.1))
    assert story.phase("ib0", 3) is PathPhase.HELD
    assert story.at(3, *lost("eth1"), *lost("eth2"), ProbeSeen("eth2", 0.1)) == "eth2", "settling, not held"
    assert story.at(4, *lost("eth2")) == "ib0", "held, but it works"


def test_all_lost_is_its_own_answer_and_the_first_to_return_is_taken_at_once() -> None:
    story = Story()
    assert story.at(1, *lost("ib0"), CarrierSeen("eth1", False)) is None
    assert story.decision.all_lost
    assert story.decision.reason == "all paths lost: ib0: no answer to probes, eth1: no carrier"
    assert story.at(2) is None
    assert not story.switched(), "told once"
    assert story.at(3, CarrierSeen("eth1", True), ProbeSeen("eth1", 1.0)) == "eth1"
    assert story.switched()
    assert story.at(4, ProbeSeen("ib0", 1.0)) == "eth1", "the preferred one settles first"
    assert story.at(14) == "ib0"


def test_an_answer_that_was_queued_when_the_carrier_went_does_not_bring_the_path_back() -> None:
    story = Story()
    story.at(1, CarrierSeen("ib0", False), ProbeSeen("ib0", 0.1))
    story.at(2, CarrierSeen("ib0", True))
    assert story.phase("ib0", 2) is PathPhase.DOWN


def test_a_carrier_that_went_and_came_between_two_looks_is_a_failure_all_the_same() -> None:
    story = Story()
    assert story.at(1, CarrierSeen("ib0", False), CarrierSeen("ib0", True), ProbeSeen("ib0", 0.1)) == "ib0"
    assert story.path("ib0").failures == (1,)


def test_an_observer_that_starts_in_the_middle_keeps_the_path_it_finds_in_use() -> None:
    story = Story(active="eth1", now=50)
    assert story.at(50.1, ProbeSeen("ib0", 0.1)) == "eth1"
    assert story.at(60) == "ib0"


def test_figures_that_make_no_sense_are_refused() -> None:
    for wrong in ({"probe_misses_max": 0}, {"flap_max": 0}, {"probe_interval_seconds": 0.0}):
        with pytest.raises(ValueError, match="more than 0"):
            PathSettings(**wrong)
    with pytest.raises(ValueError, match="negative"):
        PathSettings(failback_seconds=-1)
    with pytest.raises(ValueError, match="different names"):
        start_state(["ib0", "ib0"], "ib0", 0)
    with pytest.raises(ValueError, match="among them"):
        start_state(["ib0"], "eth1", 0)


_PATHS = st.sampled_from(NAMES)
_SEEN = st.one_of(
    st.builds(CarrierSeen, _PATHS, st.booleans()),
    st.builds(ProbeSeen, _PATHS, st.one_of(st.none(), st.just(0.5))),
)
_STORIES = st.lists(st.tuples(st.floats(0, 30), st.lists(_SEEN, max_size=6)), max_size=60)
_SETTINGS = st.builds(
    PathSettings,
    probe_misses_max=st.integers(1, 3),
    failback_seconds=st.floats(0, 20),
    flap_window_seconds=st.floats(0, 100),
    flap_max=st.integers(1, 4),
)


@given(_STORIES, _SETTINGS, _PATHS)
def test_whatever_is_seen_the_choice_keeps_its_promises(
    story: list[tuple[float, list[Observation]]], settings: PathSettings, first: str
) -> None:
    state, now = start_state(NAMES, first, 0.0), 0.0
    # An independent record of what was seen, to judge the decision by.
    carrier, misses = dict.fromkeys(NAMES, True), dict.fromkeys(NAMES, 0)
    works, since = dict.fromkeys(NAMES, True), {n: float("-inf") if n == first else 0.0 for n in NAMES}
    failures: dict[str, list[float]] = {n: [] for n in NAMES}
    for wait, seen in story:
        now += wait
        for one in seen:
            if isinstance(one, CarrierSeen):
                carrier[one.path] = one.up
                misses[one.path] = misses[one.path] if one.up else 99
            elif one.latency_ms is None:
                misses[one.path] += 1
            elif carrier[one.path]:
                misses[one.path] = 0
            up = carrier[one.path] and misses[one.path] < settings.probe_misses_max
            if up and not works[one.path]:
                since[one.path] = now
            if works[one.path] and not up:
                failures[one.path].append(now)
            works[one.path] = up
        before = state.active
        state, decision = choose_path(state, seen, now, settings)
        active = decision.active
        assert decision.switched == (active != before)
        assert (active is None) == (not any(works.values()))
        if active is None:
            continue
        assert works[active], "a path that is down is never chosen while another is up"
        if before is None or active == before or not works[before]:
            continue
        assert NAMES.index(active) < NAMES.index(before), "a working path is left for a preferred one only"
        assert now - since[active] >= settings.failback_seconds, "and only after the delay"
        recent = [at for at in failures[active] if now - at < settings.flap_window_seconds]
        assert len(recent) < settings.flap_max, "and never for one that keeps failing"


@given(_STORIES, _SETTINGS)
def test_in_calm_the_preferred_path_is_used_in_the_end(
    story: list[tuple[float, list[Observation]]], settings: PathSettings
) -> None:
    state, now = start_state(NAMES, "ib0", 0.0), 0.0
    for wait, seen in story:
        now += wait
        state, _ = choose_path(state, seen, now, settings)
    calm: list[Observation] = [CarrierSeen(n, True) for n in NAMES] + [ProbeSeen(n, 0.5) for n in NAMES]
    state, _ = choose_path(state, calm, now, settings)
    now += settings.failback_seconds + settings.flap_window_seconds + 0.001
    _, decision = choose_path(state, calm, now, settings)
    assert decision.active == "ib0"
