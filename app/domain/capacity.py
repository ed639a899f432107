"""Which failures can this cluster survive? A promise about the guaranteed VMs, never more than a recovery can keep.

To survive a loss means: whatever the order in which its nodes go and are planned, at once or one after the other, every
guaranteed VM that had a node has one afterwards. `capacity_bound` clears losses without a search and is sound;
`capacity_courses` follows the rest with the plans of the recovery itself. An answer is exact where each loss was
cleared or followed, or one was found that strands a VM; else it is a bound, and says no rather than too much.

Votes are another limit: a partition that is not quorate recovers nothing, however empty its nodes are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

from app.domain.capacity_bound import Bound, Domain
from app.domain.capacity_courses import (
    NODES_MAX,
    Courses,
    OutOfWork,
    Stranded,
    settled,
    waiting_now,
)
from app.domain.cluster import ClusterView
from app.domain.node import Node, NodeRole, NodeState
from app.domain.placement import loads_of
from app.domain.placement_rules import closed

#: VMs and nodes that plans may look at for one report: some seconds on a slow machine
WORK_MAX = 1_000_000
#: the same for a request that must not break the promise, which somebody waits for
ADMISSION_WORK_MAX = 200_000
#: so many losses that the bound does not clear are followed at most
_SUSPECTS_MAX = 5_000
#: after the first loss that strands a VM so many more are looked at for a worse one
_WORSE_MAX = 20


@dataclass(frozen=True, slots=True)
class Level:
    """What is known about all losses of so many domains (nodes, or racks).

    `exact`: the verdict is certain. Not exact and not survivable: it could not be proven, so it is not promised.
    `worst`: the loss that leaves the most memory without a node; of a level that is survived the one that leaves the
    least memory free, which is `headroom_mib`.
    """

    failures: int
    survivable: bool
    exact: bool
    worst: tuple[str, ...] = ()
    headroom_mib: int = 0
    stranded: tuple[Stranded, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Capacity:
    """The answer. `by_room`, `by_votes` and `by_storm_guard`: failures that each of the limits allows.

    `survivable` is the smallest of them; `waiting` are the VMs that have no node even now.
    """

    domain: str
    levels: tuple[Level, ...]
    by_votes: int
    by_storm_guard: int
    waiting: tuple[Stranded, ...] = ()

    @property
    def by_room(self) -> int:
        """So many failures leave room for every guaranteed VM."""
        return max((x.failures for x in self.levels if x.survivable), default=0)

    @property
    def survivable(self) -> int:
        """So many failures are survived, by all limits."""
        return min(self.by_room, self.by_votes, self.by_storm_guard)

    @property
    def exact(self) -> bool:
        """True when one more failure is known to be too many; False when it only could not be proven."""
        return all(x.exact for x in self.levels)


def prove(
    view: ClusterView, *, racks: bool = False, failures_max: int | None = None, work_max: int = WORK_MAX
) -> Capacity:
    """Level by level until one is not survived, or `failures_max`."""
    base = settled(view)
    names, domains = domains_of(base, racks=racks)
    bound, courses = Bound(base, domains), Courses(base, work_max)
    levels: list[Level] = []
    last = len(domains) - 1 if failures_max is None else min(failures_max, len(domains) - 1)
    for failures in range(1, last + 1):
        levels.append(_level(base, bound, courses, domains, failures))
        if not levels[-1].survivable:
            break
    shown = tuple(_named(x, names, domains) for x in levels) if racks else tuple(levels)
    return Capacity(
        "rack" if racks else "node", shown, votes_to_spare(view, racks=racks), storm_limit(view), waiting_now(base)
    )


def broken_promise(view: ClusterView, failures: int, *, work_max: int = ADMISSION_WORK_MAX) -> str:
    """Why this view cannot promise to survive so many node failures; empty when it can."""
    if failures < 1:
        return ""
    base = settled(view)
    if any(s.guaranteed for s in waiting_now(base)):
        return f"{waiting_now(base)[0].name} has no node even now"
    _, domains = domains_of(base, racks=False)
    if len(domains) <= failures:
        return f"there are {len(domains)} nodes that can host VMs, and {failures} may fail"
    bound = Bound(base, domains)
    if bound.clears_all(failures):
        return ""
    courses = Courses(base, work_max)
    for count in range(1, failures + 1):
        level = _level(base, bound, courses, domains, count)
        if not level.survivable:
            return level.why
    return ""


def domains_of(view: ClusterView, *, racks: bool) -> tuple[tuple[str, ...], tuple[Domain, ...]]:
    """What may fail, by name: nodes that are up; by rack, a node without one stands for itself."""
    found: dict[str, set[str]] = {}
    hosts = {v.node for v in view.vms}
    for node in view.nodes:
        if node.state is NodeState.ONLINE and (node.role is not NodeRole.WITNESS or node.name in hosts):
            found.setdefault(_domain_name(node, racks=racks), set()).add(node.name)
    ordered = sorted(found)
    return tuple(ordered), tuple(frozenset(found[name]) for name in ordered)


def votes_to_spare(view: ClusterView, *, racks: bool = False) -> int:
    """So many failures, the worst ones, leave a quorate partition. A vote of a qdevice is not known here."""
    quorum = len(view.nodes) // 2 + 1
    votes: dict[str, int] = {}
    for node in view.nodes:
        if node.state is NodeState.ONLINE:
            name = _domain_name(node, racks=racks)
            votes[name] = votes.get(name, 0) + 1
    left, spared = sum(votes.values()), 0
    for lost in sorted(votes.values(), reverse=True):
        left -= lost
        if left < quorum:
            break
        spared += 1
    return spared


def storm_limit(view: ClusterView) -> int:
    """More nodes than this lost at once are not fenced by themselves: the storm guard asks an operator."""
    return int(view.settings.storm_share * len(view.nodes) + 1e-9)


def _domain_name(node: Node, *, racks: bool) -> str:
    return f"rack {node.rack}" if racks and node.rack else node.name


def _level(base: ClusterView, bound: Bound, courses: Courses, domains: Sequence[Domain], failures: int) -> Level:
    if bound.clears_all(failures):
        return _survived(base, domains, failures)
    try:
        return _searched(base, bound, courses, domains, failures)
    except OutOfWork:
        why = (
            f"not proven: some losses of {_nodes(failures)} are too close to what fits to be cleared without a search, "
            "and the search ended before all were looked at"
        )
        return Level(failures, survivable=False, exact=False, why=why)


def _searched(base: ClusterView, bound: Bound, courses: Courses, domains: Sequence[Domain], failures: int) -> Level:
    bad: list[tuple[tuple[str, ...], tuple[Stranded, ...]]] = []
    proven, looked_on = True, 0
    if failures > NODES_MAX:  # too many courses to follow: only a loss that is bad at once can be known
        proven, suspects = False, [bound.heaviest(failures)]
    else:
        suspects = list(islice(bound.suspects(failures), _SUSPECTS_MAX + 1))
        proven = len(suspects) <= _SUSPECTS_MAX
    for loss in suspects[:_SUSPECTS_MAX]:
        nodes = frozenset().union(*(domains[i] for i in loss))
        few = len(nodes) <= NODES_MAX
        try:
            found = courses.stranded(nodes) if few else _guaranteed(courses.at_once(nodes)[1])
        except OutOfWork:
            if bad:
                break
            raise
        if found:
            bad.append((tuple(sorted(nodes)), found))
        looked_on += bool(bad)
        if looked_on > _WORSE_MAX:
            break
        proven = proven and (few or bool(found))
    if bad:
        return _not_survived(failures, *max(bad, key=lambda x: (sum(s.memory_mib for s in x[1]), x[0])))
    if not proven:
        raise OutOfWork
    return _survived(base, domains, failures)


def _survived(base: ClusterView, domains: Sequence[Domain], failures: int) -> Level:
    """The tightest loss: the domains with the most memory used and free between them."""
    loads = loads_of(base)
    open_now = {n.name for n in base.nodes if not closed(n, base.at, recovery=True)}
    used = dict.fromkeys(loads, 0)
    for vm in base.vms:
        if vm.wants_to_run and vm.node in used:
            used[vm.node] += vm.memory_mib
    free = {name: max(0, load.memory_free_mib) if name in open_now else 0 for name, load in loads.items()}
    weights = [(sum(used[n] + free[n] for n in d), sorted(d)) for d in domains]
    heaviest = sorted(weights, key=lambda x: (-x[0], x[1]))[:failures]
    worst = tuple(n for _, nodes in heaviest for n in nodes)
    headroom = sum(free.values()) - sum(weight for weight, _ in heaviest)
    return Level(failures, survivable=True, exact=True, worst=tuple(sorted(worst)), headroom_mib=headroom)


def _not_survived(failures: int, worst: tuple[str, ...], stranded: tuple[Stranded, ...]) -> Level:
    memory = sum(s.memory_mib for s in stranded)
    first = stranded[0]
    more = f" and {len(stranded) - 1} more" if len(stranded) > 1 else ""
    why = f"the loss of {', '.join(worst)} would leave {first.name}{more} ({memory} MiB) without a node: {first.reason}"
    return Level(failures, survivable=False, exact=True, worst=worst, stranded=stranded, why=why)


def _named(level: Level, names: Sequence[str], domains: Sequence[Domain]) -> Level:
    """With racks in place of their nodes."""
    hit = frozenset(level.worst)
    return replace(level, worst=tuple(n for n, d in zip(names, domains, strict=True) if d <= hit))


def _guaranteed(stranded: tuple[Stranded, ...]) -> tuple[Stranded, ...]:
    return tuple(s for s in stranded if s.guaranteed)


def _nodes(count: int) -> str:
    return "one domain" if count == 1 else f"{count} domains"
