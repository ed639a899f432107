"""A bound on what a loss can strand, that holds for every order of losses and every strategy of placement.

Theory. A recovery strands a VM only if each node that suits it is too full for it. A node that is free now is made too
full only by VMs of the lost nodes (and those that wait already), and each of these is on one node at a time. So think
of an adversary who owns all those VMs and fills the survivors with them: to close node i for a VM of memory m he must
put at least free_i - m + 1 MiB on it. If closing all suitable survivors costs more than he has, no order of losses, no
strategy and no tie-break can strand that VM. Cores are the second way to close a node: a VM weighs
max(memory, u x cores) for a rate u, closing node i costs min(by memory, u x by cores), and the argument holds for
every u, so a loss is cleared if one u clears it.

Strict spread groups close some domains for free: at most as many as the VM has fellow members. Groups that must be
together are beyond this bound; a loss that touches one is never cleared by it.

The weight of a loss is the sum over its nodes of what they carry and what they would cost to close. The worst loss of
k nodes is the k heaviest, and only the losses that are too heavy (suspects) need the real search.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from math import gcd

from app.domain.cluster import ClusterView
from app.domain.placement_group import GroupDomain, GroupKind
from app.domain.placement_ledger import Groups, Ledger, Space
from app.domain.policy import HaClass
from app.domain.vm import Desired, Vm

#: what a failure takes: the names of nodes that go together (one node, or a rack)
Domain = frozenset[str]


@dataclass(frozen=True, slots=True)
class _Sort:
    """VMs that the bound treats alike: one of them, and the domains that host some."""

    vm: Vm
    groups: Groups
    homes: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Scale:
    """One sort at one rate: how heavy each domain is, and from which weight on a loss may strand such a VM."""

    weights: tuple[int, ...]
    limit: int


class Bound:
    """The bound on one view. `domains`: what may fail, each a set of nodes; no node is in two."""

    def __init__(self, view: ClusterView, domains: Sequence[Domain]) -> None:
        self._ledger = Ledger(view)
        self._domains = tuple(domains)
        self._of_node = {name: i for i, d in enumerate(domains) for name in d}
        running = [v for v in view.vms if v.wants_to_run]
        #: every copy that a recovery may put somewhere: on a node that may fail, or without a node, or stuck
        self._on: list[list[Vm]] = [[] for _ in domains]
        self._loose: list[Vm] = []
        for vm in running:
            home = self._of_node.get(vm.node or "")
            if home is not None:
                self._on[home].append(vm)
            if home is None or vm.given_up:
                self._loose.append(vm)
        self._memory_unit = reduce(gcd, (v.memory_mib for v in running), 0) or 1
        self._cores_unit = reduce(gcd, (v.cores for v in running), 0) or 1
        self._members = _members(self._ledger, view.vms)
        self._rates = _rates(running)
        self._carried = {rate: [_weight(vms, rate) for vms in self._on] for rate in self._rates}
        self._waits = {rate: _weight(self._loose, rate) for rate in self._rates}
        self._together: set[int] = set()
        self._scales = [(sort.homes, self._scales_of(sort)) for sort in self._sorts()]

    def clears(self, loss: Iterable[int]) -> bool:
        """True: whatever the order, no guaranteed VM of these domains (by number) is stranded."""
        hit = frozenset(loss)
        if hit & self._together:
            return False
        return all(not homes & hit or any(_below(s, hit) for s in scales) for homes, scales in self._scales)

    def clears_all(self, count: int) -> bool:
        """True: no loss of so many domains strands a guaranteed VM."""
        if self._together or count >= len(self._domains):
            return False
        return all(any(_below(s, _heaviest(s, homes, count)) for s in scales) for homes, scales in self._scales)

    def suspects(self, count: int) -> Iterator[frozenset[int]]:
        """The losses of exactly so many domains that are not cleared, each once; without an end of its own."""
        seen: set[frozenset[int]] = set()
        for homes, scales in self._scales:
            # what no rate clears is among what this one does not clear
            tightest = max(scales, key=lambda s: -_excess(s, count))
            for loss in _heavy(tightest, count):
                if loss & homes and loss not in seen and not self.clears(loss):
                    seen.add(loss)
                    yield loss
        if self._together:
            every = map(frozenset, combinations(range(len(self._domains)), count))
            yield from (loss for loss in every if loss & self._together and loss not in seen)

    def heaviest(self, count: int) -> frozenset[int]:
        """The loss of so many domains that is the least likely to be survived."""
        if not self._scales:
            return frozenset(range(count))
        worst = max((s for _, scales in self._scales for s in scales), key=lambda s: _excess(s, count))
        return frozenset(_heaviest_first(worst)[:count])

    # -- inside

    def _sorts(self) -> list[_Sort]:
        examples: dict[object, tuple[Vm, Groups]] = {}
        homes: dict[object, set[int]] = {}
        for i, vms in enumerate(self._on):
            for vm in vms:
                if vm.ha.ha_class is not HaClass.GUARANTEED or vm.local:
                    continue
                groups = self._ledger.groups_of(vm)
                if any(g.kind is GroupKind.TOGETHER for g in groups):
                    self._together.add(i)
                    continue
                strict = tuple(g for g in groups if g.kind is GroupKind.SPREAD)
                key = vm.memory_mib, self._ledger.kind(vm, recovery=True), tuple(g.id for g in strict)
                examples.setdefault(key, (vm, strict))
                homes.setdefault(key, set()).add(i)
        return [_Sort(vm, strict, frozenset(homes[key])) for key, (vm, strict) in examples.items()]

    def _scales_of(self, sort: _Sort) -> tuple[_Scale, ...]:
        suited, _ = self._ledger.suited(sort.vm, recovery=True)
        return tuple(self._scale(sort, suited, rate) for rate in self._rates)

    def _scale(self, sort: _Sort, suited: list[Space], rate: int) -> _Scale:
        costs = [(space, self._cost(space, sort.vm, rate)) for space in suited]
        weights = list(self._carried[rate])
        for space, cost in costs:
            home = self._of_node.get(space.node.name)
            if home is not None:
                weights[home] += cost
        total = sum(cost for _, cost in costs) - self._closed_by_fellows(sort.groups, costs)
        return _Scale(tuple(weights), total + _weight([sort.vm], rate) - self._waits[rate])

    def _cost(self, space: Space, vm: Vm, rate: int) -> int:
        """What it takes at least to make this node too full, in steps of what VMs are made of."""
        memory = -(-max(0, space.free - vm.memory_mib + 1) // self._memory_unit) * self._memory_unit
        cores = -(-max(0, space.cores_free - vm.cores + 1) // self._cores_unit) * self._cores_unit
        return min(memory, rate * cores)

    def _closed_by_fellows(self, groups: Groups, costs: list[tuple[Space, int]]) -> int:
        """Domains of strict spread groups that fellow members may close: the dearest ones, to be safe."""
        lost = 0
        for group in groups:
            places: dict[str, int] = {}
            for space, cost in costs:
                place = space.node.name if group.domain is GroupDomain.NODE else space.node.rack
                places[place] = places.get(place, 0) + cost
            lost += sum(sorted(places.values(), reverse=True)[: self._members[group.id] - 1])
        return lost


def _weight(vms: Iterable[Vm], rate: int) -> int:
    return sum(max(vm.memory_mib, rate * vm.cores) for vm in vms)


def _members(ledger: Ledger, vms: Iterable[Vm]) -> dict[int, int]:
    """In how many places each group can be at most; a VM that migrates is in two."""
    count: dict[int, int] = {}
    for vm in vms:
        if vm.desired is Desired.RUNNING:
            for group in ledger.groups_of(vm):
                count[group.id] = count.get(group.id, 0) + (1 if vm.migrating_to is None else 2)
    return count


def _rates(running: list[Vm]) -> tuple[int, ...]:
    """MiB for a core: the least, the middle and the most that VMs here have. Any rate is right; these are useful."""
    ratios = sorted(max(1, vm.memory_mib // max(vm.cores, 1)) for vm in running)
    return tuple(sorted({ratios[0], ratios[len(ratios) // 2], ratios[-1]})) if ratios else (1,)


def _below(scale: _Scale, loss: Iterable[int]) -> bool:
    return sum(scale.weights[i] for i in loss) < scale.limit


def _heaviest_first(scale: _Scale) -> list[int]:
    return sorted(range(len(scale.weights)), key=lambda i: -scale.weights[i])


def _excess(scale: _Scale, count: int) -> int:
    """By how much the heaviest loss of so many domains is beyond the limit; below 0: it is within."""
    return sum(sorted(scale.weights)[-count:]) - scale.limit


def _heaviest(scale: _Scale, homes: frozenset[int], count: int) -> frozenset[int]:
    """The heaviest loss of so many domains with a VM of this sort in it."""
    order = _heaviest_first(scale)
    loss = order[:count]
    if count and not homes & frozenset(loss):
        loss[-1] = next(i for i in order if i in homes)
    return frozenset(loss)


def _heavy(scale: _Scale, count: int) -> Iterator[frozenset[int]]:
    """The losses of so many domains that reach the limit, roughly the heaviest first."""
    order = _heaviest_first(scale)
    weights = [scale.weights[i] for i in order]

    def descend(start: int, left: int, weight: int) -> Iterator[tuple[int, ...]]:
        if not left:
            if weight >= scale.limit:
                yield ()
            return
        for i in range(start, len(order) - left + 1):
            if weight + sum(weights[i : i + left]) < scale.limit:
                return
            for rest in descend(i + 1, left - 1, weight + weights[i]):
                yield (order[i], *rest)

    yield from map(frozenset, descend(0, count, 0))
