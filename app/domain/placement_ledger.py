"""The ledger of a plan: what every node carries, what it can still take, and where the members of groups are.

It begins with what a view says and grows with each promise that a plan makes. Invariant: a node's free memory and free
virtual cores are what it may promise (with overcommit) less all that was promised to VMs wanted running there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from app.domain.cluster import ClusterView
from app.domain.node import Node
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.placement_rules import closed, unsuited
from app.domain.placement_strategy import Strategy, strategy_named
from app.domain.vm import Desired, Vm

Groups = tuple[PlacementGroup, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """What a node carries now: VMs counted, memory in MiB and virtual cores, promised and to be promised in all."""

    node: Node
    vms: int
    memory_used_mib: int
    memory_total_mib: int
    cores_used: int
    cores_total: int

    @property
    def memory_free_mib(self) -> int:
        """Memory in MiB that is not promised to a VM; below 0 when the operator lowered the overcommit."""
        return self.memory_total_mib - self.memory_used_mib

    def plus(self, vm: Vm) -> "Load":
        """The load with this VM on it."""
        return replace(
            self, vms=self.vms + 1, memory_used_mib=self.memory_used_mib + vm.memory_mib,
            cores_used=self.cores_used + vm.cores,
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class Space:
    """One node in a plan: VMs counted, memory in MiB and virtual cores free. It changes as the plan grows."""

    node: Node
    index: int
    vms: int
    free: int
    cores_free: int

    def domain(self, group: PlacementGroup) -> str:
        """Which of the group's places this node is. Nodes without a rack are in one rack that has no name."""
        return self.node.name if group.domain is GroupDomain.NODE else self.node.rack


class Ledger:
    """See above. Spaces are in the order of their names, so that the order of rows changes nothing."""

    def __init__(self, view: ClusterView) -> None:
        self.at, self.advice = view.at, view.advice
        self.strategy: Strategy = strategy_named(view.settings.strategy)
        memory, cores = view.settings.memory_overcommit, view.settings.cpu_overcommit
        nodes = sorted(view.nodes, key=lambda n: n.name)
        self.spaces = [Space(n, i, 0, int(n.memory_mib * memory), int(n.cores * cores)) for i, n in enumerate(nodes)]
        self._totals = {s.node.name: (s.free, s.cores_free) for s in self.spaces}
        self._by_name = {s.node.name: s for s in self.spaces}
        self._groups = {(g.project_id, g.name): g for g in view.groups}
        self._members: dict[int, dict[str, int]] = {g.id: {} for g in view.groups}
        #: a group that must be together leaves a node that is being emptied: the first VM decides where to
        self._leaving = frozenset(n.name for n in nodes if n.evacuating)
        self._suited: dict[object, tuple[list[Space], dict[str, str]]] = {}
        for vm in view.vms:
            self.count(vm)

    def count(self, vm: Vm) -> None:
        """A VM counts where it is assigned and wanted running, and where a migration brings it."""
        for space in self._homes(vm):
            self.take(vm, space)

    def forget(self, vm: Vm) -> None:
        """Take back what `count` did."""
        for space in self._homes(vm):
            self.give_back(vm, space)

    def _homes(self, vm: Vm) -> Iterable[Space]:
        if vm.node is None or vm.desired is not Desired.RUNNING:
            return ()
        home = self._by_name.get(vm.node)
        if vm.migrating_to is None:
            return () if home is None else (home,)
        there = self._by_name.get(vm.migrating_to)
        return [s for s in (home, there) if s is not None]

    def close(self, names: frozenset[str]) -> None:
        """These nodes are gone: nothing is said about them any more."""
        self.spaces = [s for s in self.spaces if s.node.name not in names]
        self._by_name = {s.node.name: s for s in self.spaces}
        self._suited = {}

    def copy(self) -> "Ledger":
        """One that can be changed without changing this."""
        twin = object.__new__(Ledger)
        twin.__dict__.update(self.__dict__)
        twin.spaces = [replace(s) for s in self.spaces]
        twin._by_name = {s.node.name: s for s in twin.spaces}
        twin._members = {group: dict(places) for group, places in self._members.items()}
        twin._suited = {}
        return twin

    # -- promises

    def take(self, vm: Vm, space: Space) -> None:
        """Promise this node's room to this VM."""
        space.vms += 1
        space.free -= vm.memory_mib
        space.cores_free -= vm.cores
        if vm.needs.groups:
            for group in self.groups_of(vm):
                places, domain = self._members[group.id], space.domain(group)
                places[domain] = places.get(domain, 0) + 1

    def give_back(self, vm: Vm, space: Space) -> None:
        """Take the promise back."""
        space.vms -= 1
        space.free += vm.memory_mib
        space.cores_free += vm.cores
        self.leave_groups(vm, space)

    def leave_groups(self, vm: Vm, space: Space) -> None:
        """Its groups no longer count it there, whatever becomes of its room."""
        for group in self.groups_of(vm):
            places, domain = self._members[group.id], space.domain(group)
            places[domain] -= 1
            if not places[domain]:
                del places[domain]

    # -- questions

    def space(self, name: str) -> Space | None:
        """That node's, None if there is none."""
        return self._by_name.get(name)

    def groups_of(self, vm: Vm) -> Groups:
        """The groups that it names and that exist."""
        if not vm.needs.groups:
            return ()
        found = (self._groups.get((vm.project_id, name)) for name in vm.needs.groups)
        return tuple(g for g in found if g is not None)

    def places_of(self, group: PlacementGroup) -> Mapping[str, int]:
        """How many members are in each of its domains that has any."""
        return self._members[group.id]

    def kind(self, vm: Vm, *, recovery: bool) -> object:
        """VMs of one kind suit the same nodes. With plugins every VM is a kind of its own."""
        if self.advice is not None:
            return vm.id, recovery
        needs = vm.needs
        return (
            recovery, vm.cores, vm.pool, vm.failed_nodes, needs.tags, needs.avoid_tags, needs.networks, needs.cpu_model,
        )  # fmt: skip

    def suited(self, vm: Vm, *, recovery: bool) -> tuple[list[Space], dict[str, str]]:
        """The nodes that this VM may be on if there is room, and why not the others."""
        kind = self.kind(vm, recovery=recovery)
        known = self._suited.get(kind)
        if known is None:
            known = self._suited[kind] = self._suit(vm, recovery=recovery)
        return known

    def _suit(self, vm: Vm, *, recovery: bool) -> tuple[list[Space], dict[str, str]]:
        against = {s.node.name: closed(s.node, self.at, recovery=recovery) or unsuited(s.node, vm) for s in self.spaces}
        allowed = [s for s in self.spaces if not against[s.node.name]]
        if self.advice is not None and allowed:
            refused = self.advice.refuse(vm, tuple(s.node for s in allowed))
            against |= {s.node.name: refused.get(s.node.name, "") for s in allowed}
            allowed = [s for s in allowed if not against[s.node.name]]
        return allowed, against

    def scores(self, vm: Vm, spaces: list[Space]) -> Mapping[str, float]:
        """What plugins think of these nodes for this VM."""
        return self.advice.score(vm, tuple(s.node for s in spaces)) if self.advice is not None and spaces else {}

    def crowded(self, vm: Vm, space: Space) -> str:
        """Why a node that suits this VM cannot take it now; empty when it can."""
        if space.free < vm.memory_mib:
            return f"has {space.free} MiB of memory free, {vm.memory_mib} MiB needed"
        if space.cores_free < vm.cores:
            return f"has {space.cores_free} virtual cores free, {vm.cores} needed"
        return self.barred(self.groups_of(vm), space)

    def barred(self, groups: Groups, space: Space) -> str:
        """Why the groups of a VM keep it from this node; empty when they do not."""
        for group in groups:
            places, domain = self._members[group.id], space.domain(group)
            if group.kind is GroupKind.SPREAD and places.get(domain, 0):
                where = "" if group.domain is GroupDomain.NODE else f" in its rack {domain or '(none)'}"
                return f"has a VM of the group {group.name}{where}, which must be spread"
            if group.kind is GroupKind.TOGETHER and domain not in places:
                there = sorted(set(places) - self._leaving)
                if there:
                    return f"is not where the group {group.name} is, which must be together ({', '.join(there)})"
        return ""

    def loads(self) -> dict[str, Load]:
        """The load of every node by name."""
        return {s.node.name: self._load(s) for s in self.spaces}

    def _load(self, s: Space) -> Load:
        memory, cores = self._totals[s.node.name]
        return Load(s.node, s.vms, memory - s.free, memory, cores - s.cores_free, cores)
