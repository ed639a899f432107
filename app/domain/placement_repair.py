"""The repair search: before a VM is called unplaced, the plan looks for another packing of what it may still move.

It moves only VMs that the plan itself places, never one that runs. What it makes smaller is the memory that is left
without a node, the most important VMs first (stage, class, priority). It is a branch and bound over parts of the
cluster: with a few nodes and VMs the part is all of it and the answer is the best there is; else, or when `steps_max`
is used up, it is the best that was found. Steps, not seconds, so that the same input gives the same plan.

Invariant: no rank is left with more memory without a node than before, unless a higher rank has less.
"""

from bisect import bisect_right
from collections.abc import Sequence
from functools import reduce
from heapq import nlargest
from math import gcd

from app.domain.placement_ledger import Ledger, Space
from app.domain.placement_pass import Owed, Placed

#: the effort of one plan: about 10 microseconds each
STEPS_MAX = 20_000
#: a part of the cluster that is searched as a whole
_SPACES_MAX, _ITEMS_MAX = 16, 48
_PART_SPACES, _PART_ITEMS = 8, 24
#: so many parts are tried in one plan
_PARTS_MAX = 64


def repair(ledger: Ledger, owed: Sequence[Owed], placed: Placed, steps_max: int = STEPS_MAX) -> Placed:
    """The plan with less left over, or the same one. The ledger carries the result; what moved says so."""
    by_id = {o.vm.id: o for o in owed}
    at = {vm_id: space for vm_id, (space, _) in placed.items()}
    stranded = sorted((o for o in owed if o.vm.id not in placed), key=_order)
    steps_left, parts_left = steps_max, _PARTS_MAX
    given = _room_without(at, by_id)
    hopeless: dict[tuple[object, int], bool] = {}
    for one in stranded:
        if steps_left <= 0 or parts_left <= 0:
            break
        alike = ledger.kind(one.vm, recovery=one.recovery), one.vm.memory_mib
        if alike not in hopeless:
            hopeless[alike] = not _hopeful(ledger, one, given)
        if one.vm.id in at or hopeless[alike]:
            continue
        parts_left -= 1
        spaces, items = _part(ledger, one, at, by_id)
        search = _Search(ledger, items, spaces, at, steps_left)
        found = search.run()
        steps_left -= search.steps
        if found is not None:
            for item in items:
                at.pop(item.vm.id, None)
            at |= found
            given = _room_without(at, by_id)
    return {vm_id: _said(placed, vm_id, space) for vm_id, space in at.items()}


def _said(placed: Placed, vm_id: int, space: Space) -> tuple[Space, str]:
    if vm_id in placed and placed[vm_id][0] is space:
        return placed[vm_id]
    return space, "found by the repair search: taken in their order, some VMs would have had no node"


def _order(one: Owed) -> tuple[tuple[int, bool, int], int, int]:
    return one.rank, -one.vm.memory_mib, one.vm.id


def _room_without(at: dict[int, Space], by_id: dict[int, Owed]) -> dict[int, int]:
    """The memory in MiB that this plan has put on each space."""
    given: dict[int, int] = {}
    for vm_id, space in at.items():
        given[space.index] = given.get(space.index, 0) + by_id[vm_id].vm.memory_mib
    return given


def _hopeful(ledger: Ledger, one: Owed, given: dict[int, int]) -> bool:
    """Some node has room for it once it is rid of all that this plan gave it."""
    suited, _ = ledger.suited(one.vm, recovery=one.recovery)
    return any(s.free + given.get(s.index, 0) >= one.vm.memory_mib for s in suited)


def _part(ledger: Ledger, one: Owed, at: dict[int, Space], by_id: dict[int, Owed]) -> tuple[list[Space], list[Owed]]:
    """The nodes and VMs that are packed anew for the sake of this VM: all, or the roomiest that suit it."""
    left = [o for o in by_id.values() if o.vm.id not in at]
    if len(ledger.spaces) <= _SPACES_MAX and len(by_id) <= _ITEMS_MAX:
        return ledger.spaces, sorted(by_id.values(), key=_order)
    suited, _ = ledger.suited(one.vm, recovery=one.recovery)
    on: dict[int, list[Owed]] = {}
    for vm_id, space in at.items():
        on.setdefault(space.index, []).append(by_id[vm_id])
    roomiest = nlargest(_PART_SPACES, suited, key=lambda s: (s.free, -s.index))
    items = [one]
    spaces = []
    for space in roomiest:
        theirs = on.get(space.index, [])
        if len(items) + len(theirs) <= _PART_ITEMS:
            spaces.append(space)
            items += theirs
    items += sorted((o for o in left if o is not one), key=_order)[: _PART_ITEMS - len(items)]
    return spaces, sorted(items, key=_order)


class _Search:
    """One branch and bound. Spaces are free of the items while it runs, and carry the best answer afterwards."""

    def __init__(
        self, ledger: Ledger, items: list[Owed], spaces: list[Space], at: dict[int, Space], steps_max: int
    ) -> None:
        self._ledger, self._before, self._steps_max = ledger, at, steps_max
        self._spaces, self._items = spaces, items
        self.steps = 0
        self._groups = [ledger.groups_of(o.vm) for o in items]
        self._memory = [o.vm.memory_mib for o in items]
        self._cores = [o.vm.cores for o in items]
        self._weights, self._density = _weights(items)
        self._may = self._suited()
        self._same = [i > 0 and self._twins(i - 1, i) for i in range(len(items))]
        self._cumulated = _sums(self._memory)
        self._least = _sums([m * d for m, d in zip(self._memory, self._density, strict=True)])
        self._chosen: list[Space | None] = [None] * len(items)
        self._best: list[Space | None] | None = None

    def run(self) -> dict[int, Space] | None:
        """A better answer by VM id, or None. Either way the ledger carries what counts from now on."""
        held = [self._before.get(o.vm.id) for o in self._items]
        self._cost = sum(w for w, space in zip(self._weights, held, strict=True) if space is None)
        self._put(held, give_back=True)
        self._prepare()
        self._floor = self._bound(0, 0)
        if self._floor < self._cost:
            self._descend(0, 0)
        self._put(held if self._best is None else self._best)
        if self._best is None:
            return None
        return {o.vm.id: s for o, s in zip(self._items, self._best, strict=True) if s is not None}

    def _put(self, chosen: list[Space | None], *, give_back: bool = False) -> None:
        for one, space in zip(self._items, chosen, strict=True):
            if space is not None:
                (self._ledger.give_back if give_back else self._ledger.take)(one.vm, space)

    def _suited(self) -> list[list[Space]]:
        here = {s.index for s in self._spaces}
        suited = (self._ledger.suited(o.vm, recovery=o.recovery)[0] for o in self._items)
        return [[s for s in spaces if s.index in here] for spaces in suited]

    def _twins(self, i: int, k: int) -> bool:
        """Two VMs that can change places without anybody noticing."""
        one, other = self._items[i], self._items[k]
        return (
            one.rank == other.rank
            and self._memory[i] == self._memory[k]
            and self._cores[i] == self._cores[k]
            and self._groups[i] == self._groups[k]
            and self._may[i] == self._may[k]
        )

    def _prepare(self) -> None:
        """What bounds and symmetries need to know, while the spaces are free of the items."""
        self._unit = reduce(gcd, self._memory, 0)
        self._sums = [1] * (len(self._items) + 1)
        for i in range(len(self._items) - 1, -1, -1):
            self._sums[i] = self._sums[i + 1] | self._sums[i + 1] << self._memory[i] // self._unit
        self._fill: dict[tuple[int, int], int] = {}
        grouped = any(self._groups)
        classes: dict[object, int] = {}
        self._class = {}
        for s in self._spaces:
            alike: object = s.index if grouped else tuple(s in may for may in self._may)
            self._class[s.index] = classes.setdefault(alike, len(classes))
        cores_enough = all(s.cores_free >= sum(self._cores) for s in self._spaces)
        self._plain = not grouped and len(classes) == 1 and cores_enough

    def _bound(self, i: int, cost: int) -> int:
        """No answer below this node of the tree costs less: memory beyond what the spaces can be filled with."""
        n, memory = len(self._items), self._memory
        largest = max((s.free for s in self._spaces), default=0)
        while i < n and memory[i] > largest:
            cost += self._weights[i]
            i += 1
        if i == n:
            return cost
        room = sum(self._filled(i, s.free) for s in self._spaces)
        past = bisect_right(self._cumulated, self._cumulated[i] + room) - 1
        if past >= n:
            return cost
        rest = self._cumulated[past + 1] - self._cumulated[i] - room
        return cost + rest * self._density[past] + self._least[n] - self._least[past + 1]

    def _filled(self, i: int, free: int) -> int:
        """The most of this room that some of the items from i on can fill exactly."""
        known = self._fill.get((i, free))
        if known is None:
            units = max(free, 0) // self._unit
            known = ((self._sums[i] & ((1 << units + 1) - 1)).bit_length() - 1) * self._unit
            self._fill[i, free] = known
        return known

    def _descend(self, i: int, cost: int) -> None:
        """Try every place of item i that differs, then none."""
        self.steps += 1
        if i == len(self._items):
            if cost < self._cost:
                self._cost, self._best = cost, list(self._chosen)
            return
        if self._bound(i, cost) >= self._cost:
            return
        vm = self._items[i].vm
        last_of_its_kind = i + 1 == len(self._items) or not self._same[i + 1]
        for space in self._places(i):
            exact = self._plain and last_of_its_kind and space.free == vm.memory_mib
            self._ledger.take(vm, space)
            self._chosen[i] = space
            self._descend(i + 1, cost)
            self._ledger.give_back(vm, space)
            if self._done() or exact:  # nothing is better than what fills a node to the last MiB
                return
        self._chosen[i] = None
        if cost + self._weights[i] < self._cost:
            self._descend(i + 1, cost + self._weights[i])

    def _done(self) -> bool:
        return self._cost <= self._floor or self.steps >= self._steps_max

    def _places(self, i: int) -> list[Space]:
        """Where item i fits, the tightest first, of spaces that are alike one. A twin goes nowhere before its twin."""
        first = 0
        if self._same[i]:
            twin = self._chosen[i - 1]
            if twin is None:
                return []
            first = twin.index
        memory, cores, groups = self._memory[i], self._cores[i], self._groups[i]
        seen, fit = set(), []
        for s in self._may[i]:
            if s.index < first or s.free < memory or s.cores_free < cores:
                continue
            alike = s.free, s.cores_free, self._class[s.index]
            if alike in seen or (groups and self._ledger.barred(groups, s)):
                continue
            seen.add(alike)
            fit.append(s)
        fit.sort(key=lambda s: (s.free, s.index))
        return fit


def _weights(items: list[Owed]) -> tuple[list[int], list[int]]:
    """What it costs to leave each item out, and what one MiB of it costs at least.

    A MiB of one rank weighs more than all of the ranks below it; of two answers alike in memory the one with fewer
    VMs left out is better.
    """
    ranks = sorted({o.rank for o in items}, reverse=True)
    many = len(items) + 1
    scale: dict[tuple[int, bool, int], int] = {}
    total = 0
    for rank in ranks:
        scale[rank] = total + 1
        total += sum(o.vm.memory_mib * many + 1 for o in items if o.rank == rank) * scale[rank]
    weights = [(o.vm.memory_mib * many + 1) * scale[o.rank] for o in items]
    return weights, [many * scale[o.rank] for o in items]


def _sums(values: Sequence[int]) -> list[int]:
    sums = [0]
    for value in values:
        sums.append(sums[-1] + value)
    return sums
