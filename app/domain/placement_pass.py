"""The first pass of a plan: VM after VM in their order, each to the first node of the strategy that can take it.

VMs of one size and kind are taken in a row: within such a batch a node that is too full stays too full, so it leaves
the heap for good, and a VM costs the logarithm of the number of nodes instead of a look at each.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

from app.domain.placement import company, praise
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.placement_ledger import Groups, Ledger, Space
from app.domain.policy import HaClass
from app.domain.vm import Vm


@dataclass(frozen=True, slots=True)
class Owed:
    """A VM that is owed a node. `recovery`: spares may take it. Of two `stage`s the lower is served first."""

    vm: Vm
    recovery: bool = True
    stage: int = 0

    @property
    def rank(self) -> tuple[int, bool, int]:
        """Who is served first: stage, guaranteed before best-effort, priority. The lower the earlier."""
        return self.stage, self.vm.ha.ha_class is HaClass.BEST_EFFORT, -self.vm.priority


#: VM id -> the node that a plan gives it, and why
Placed = dict[int, tuple[Space, str]]


def start_order(vms: Iterable[Vm]) -> list[Vm]:
    """Guaranteed before best-effort, then highest priority; then large before small, which strands fewer; then age."""
    return sorted(vms, key=lambda v: (v.ha.ha_class is HaClass.BEST_EFFORT, -v.priority, -v.memory_mib, v.id))


def first_pass(ledger: Ledger, owed: Sequence[Owed]) -> Placed:
    """Place what can be placed; the ledger carries it afterwards."""
    placed: Placed = {}
    waiting = _waiting_together(ledger, owed)
    for batch in _batches(ledger, owed):
        one = batch[0]
        suited, _ = ledger.suited(one.vm, recovery=one.recovery)
        scores = ledger.scores(one.vm, suited)
        heap = [_entry(ledger, s, scores) for s in suited if _fits(s, one.vm)]
        heapify(heap)
        for each in batch:
            vm = each.vm
            groups = ledger.groups_of(vm)
            space = _pick(ledger, heap, groups, waiting) if groups else (heappop(heap)[-1] if heap else None)
            if space is None:
                continue
            placed[vm.id] = space, praise(ledger, vm, space, scores.get(space.node.name, 0.0))
            ledger.take(vm, space)
            if _fits(space, vm):
                heappush(heap, _entry(ledger, space, scores))
    return placed


def _batches(ledger: Ledger, owed: Sequence[Owed]) -> list[list[Owed]]:
    found: dict[Any, list[Owed]] = {}
    for one in owed:
        key = one.rank, -one.vm.memory_mib, ledger.kind(one.vm, recovery=one.recovery)
        found.setdefault(key, []).append(one)
    for batch in found.values():
        batch.sort(key=lambda o: o.vm.id)
    return sorted(found.values(), key=lambda b: (b[0].rank, -b[0].vm.memory_mib, -b[0].vm.cores, b[0].vm.id))


def _fits(space: Space, vm: Vm) -> bool:
    return space.free >= vm.memory_mib and space.cores_free >= vm.cores


def _entry(ledger: Ledger, space: Space, scores: Any) -> tuple[float, tuple[int, int], int, Space]:
    return -scores.get(space.node.name, 0.0) if scores else 0.0, ledger.strategy.order(space), space.index, space


def _pick(ledger: Ledger, heap: list[Any], groups: Groups, waiting: dict[int, list[int]]) -> Space | None:
    """The first that the groups allow and where they are not crowded; else the least crowded one."""
    aside, best, best_crowd = [], None, 0
    while heap:
        entry = heappop(heap)
        space: Space = entry[-1]
        if not ledger.barred(groups, space):
            crowd = company(ledger, groups, space) + _too_small_for_all(ledger, groups, space, waiting)
            if best is None or crowd < best_crowd:
                best, best_crowd = entry, crowd
            if not crowd:
                break
        aside.append(entry)
    for entry in aside:
        if entry is not best:
            heappush(heap, entry)
    return None if best is None else best[-1]


def _waiting_together(ledger: Ledger, owed: Sequence[Owed]) -> dict[int, list[int]]:
    """Memory and cores that the VMs of each together-group need in all."""
    needed: dict[int, list[int]] = {}
    for one in owed:
        for group in ledger.groups_of(one.vm):
            if group.kind is GroupKind.TOGETHER:
                total = needed.setdefault(group.id, [0, 0])
                total[0] += one.vm.memory_mib
                total[1] += one.vm.cores
    return needed


def _too_small_for_all(ledger: Ledger, groups: Groups, space: Space, waiting: dict[int, list[int]]) -> int:
    """The first VM of a together-group decides for all: a place without room for the others is a bad one."""
    return sum(
        not _has_room(ledger, group, space, *waiting[group.id])
        for group in groups
        if group.kind is GroupKind.TOGETHER and group.id in waiting and not ledger.places_of(group)
    )


def _has_room(ledger: Ledger, group: PlacementGroup, space: Space, memory: int, cores: int) -> bool:
    if group.domain is GroupDomain.NODE:
        return space.free >= memory and space.cores_free >= cores
    there = [s for s in ledger.spaces if s.node.rack == space.node.rack]
    return sum(s.free for s in there) >= memory and sum(s.cores_free for s in there) >= cores
