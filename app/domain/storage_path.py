"""Which path the storage traffic takes: when to leave one, and when to go back.

Theory. Two mistakes are possible and they cost differently. Leaving a bad path late costs stalled guest I/O, so a
loss counts at once: no carrier, or `probe_misses_max` probes in a row without an answer. Going back early costs a
second stall, so a return must prove itself: a path that came back is used before its time only if nothing better
works, and a path that keeps failing is believed later than one that failed once. All times are monotonic seconds.

    phase      event                                                    next phase
    TRUSTED    no carrier, or the last allowed probe is missed          DOWN
    SETTLING   the same                                                 DOWN
    HELD       the same                                                 DOWN
    DOWN       carrier and an answer                                    SETTLING, or HELD after flap_max failures
    SETTLING   worked for failback_seconds                              TRUSTED
    HELD       fewer than flap_max failures in flap_window_seconds      TRUSTED (SETTLING while failback_seconds runs)

The phase is a function of a path's state and the time (`phase_of`); it is stored nowhere.

Invariant, which `choose_path` asserts after every change: the chosen path works, or none does ("all lost", a fact of
its own); and a working path is left only for a TRUSTED one that is preferred to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True)
class PathSettings:
    """A silent loss is seen after `probe_interval_seconds` * (`probe_misses_max` + 1) at the latest.

    A path that failed `flap_max` times in the last `flap_window_seconds` is held down until it is calmer. ValueError
    for figures that make no sense.
    """

    probe_interval_seconds: float = 0.25
    probe_misses_max: int = 3
    failback_seconds: float = 10.0
    flap_window_seconds: float = 300.0
    flap_max: int = 3

    def __post_init__(self) -> None:
        if self.probe_interval_seconds <= 0 or self.probe_misses_max < 1 or self.flap_max < 1:
            raise ValueError("probe_interval_seconds, probe_misses_max and flap_max must be more than 0")
        if self.failback_seconds < 0 or self.flap_window_seconds < 0:
            raise ValueError("failback_seconds and flap_window_seconds must not be negative")


class PathPhase(StrEnum):
    """How far a path is believed. See the table above."""

    TRUSTED = "trusted"
    SETTLING = "settling"
    HELD = "held"
    DOWN = "down"


_RANK = {PathPhase.TRUSTED: 0, PathPhase.SETTLING: 1, PathPhase.HELD: 2, PathPhase.DOWN: 3}


@dataclass(frozen=True, slots=True)
class CarrierSeen:
    """The interface of a path has a carrier, or has none (it may be gone altogether)."""

    path: str
    up: bool


@dataclass(frozen=True, slots=True)
class ProbeSeen:
    """One probe over a path: answered after `latency_ms`, or not answered in its time (None)."""

    path: str
    latency_ms: float | None


Observation = CarrierSeen | ProbeSeen


@dataclass(frozen=True, slots=True)
class PathState:
    """What is known of one path. A lost carrier fills `misses`, so that only an answer brings the path back."""

    name: str
    carrier: bool = True
    misses: int = 0
    works: bool = True
    works_since: float = _LONG_AGO
    failures: tuple[float, ...] = ()
    latency_ms: float | None = None

    @property
    def reason(self) -> str:
        """Why it does not work; empty when it does."""
        if self.works:
            return ""
        return "no answer to probes" if self.carrier else "no carrier"


@dataclass(frozen=True, slots=True)
class PathsState:
    """All paths of one target, the preferred first, and the one that was chosen; None: all were lost."""

    paths: tuple[PathState, ...]
    active: str | None


@dataclass(frozen=True, slots=True)
class PathDecision:
    """The path to use, or None when all are lost, and why. `switched`: it differs from the one before."""

    active: str | None
    switched: bool
    reason: str

    @property
    def all_lost(self) -> bool:
        """True when no path works."""
        return self.active is None


def start_state(names: Sequence[str], active: str, now: float) -> PathsState:
    """What an observer that has just started believes: every path works, the one in use was found in use.

    A more preferred path than the one in use was left by somebody for a reason, so it must settle first.
    """
    if len(set(names)) != len(names) or active not in names:
        raise ValueError("paths need different names, and the active one must be among them")
    paths = tuple(PathState(n, works_since=_LONG_AGO if n == active else now) for n in names)
    return PathsState(paths, active)


def phase_of(path: PathState, now: float, settings: PathSettings) -> PathPhase:
    """How far this path is believed now."""
    if not path.works:
        return PathPhase.DOWN
    recent = sum(1 for at in path.failures if now - at < settings.flap_window_seconds)
    if recent >= settings.flap_max:
        return PathPhase.HELD
    settled = now - path.works_since >= settings.failback_seconds
    return PathPhase.TRUSTED if settled else PathPhase.SETTLING


def choose_path(
    state: PathsState, observations: Iterable[Observation], now: float, settings: PathSettings
) -> tuple[PathsState, PathDecision]:
    """Take in what was seen, in its order, and decide. KeyError for a path that is not in `state`."""
    paths = {p.name: p for p in state.paths}
    for seen in observations:
        paths[seen.path] = _after(paths[seen.path], seen, now, settings)
    phases = {name: phase_of(path, now, settings) for name, path in paths.items()}
    active = _choose(phases, state.active)
    _check(phases, state.active, active)
    decision = PathDecision(active, active != state.active, _why(paths, phases, state.active, active))
    return PathsState(tuple(paths.values()), active), decision


def _after(path: PathState, seen: Observation, now: float, settings: PathSettings) -> PathState:
    match seen:
        case CarrierSeen(up=up):
            path = replace(path, carrier=up, misses=path.misses if up else max(path.misses, settings.probe_misses_max))
        case ProbeSeen(latency_ms=None):
            path = replace(path, misses=path.misses + 1)
        case ProbeSeen(latency_ms=latency_ms):
            # An answer that was still in the queue when the carrier went proves nothing about now.
            path = replace(path, misses=0, latency_ms=latency_ms) if path.carrier else path
    works = path.carrier and path.misses < settings.probe_misses_max
    if works and not path.works:
        return replace(path, works=True, works_since=now)
    if path.works and not works:
        # As many as the damping counts; what is older cannot matter any more.
        return replace(path, works=False, failures=(*path.failures, now)[-settings.flap_max :])
    return path


def _choose(phases: Mapping[str, PathPhase], before: str | None) -> str | None:
    """`phases` in order of preference; min() takes the first of equals."""
    if before is not None and phases[before] is not PathPhase.DOWN:
        better = list(phases)[: list(phases).index(before)]
        return next((name for name in better if phases[name] is PathPhase.TRUSTED), before)
    best = min(phases, key=lambda name: _RANK[phases[name]])
    return None if phases[best] is PathPhase.DOWN else best


def _check(phases: Mapping[str, PathPhase], before: str | None, active: str | None) -> None:
    if active is None:
        assert all(phase is PathPhase.DOWN for phase in phases.values()), "a working path was given up"
        return
    assert phases[active] is not PathPhase.DOWN, "a path that is down was chosen"
    if before not in (None, active) and phases[before] is not PathPhase.DOWN:
        assert phases[active] is PathPhase.TRUSTED, "a working path was left for one that has not settled"


def _why(
    paths: Mapping[str, PathState], phases: Mapping[str, PathPhase], before: str | None, active: str | None
) -> str:
    if active is None:
        return "all paths lost: " + ", ".join(f"{p.name}: {p.reason}" for p in paths.values())
    if before is None:
        return f"{active} works again after all paths were lost"
    if before == active:
        return f"{active} is in use and works"
    if phases[before] is PathPhase.DOWN:
        return f"{before}: {paths[before].reason}"
    return f"{active} works again and is preferred to {before}"
