"""Rules that contradict each other, or the cluster, found before they hurt.

A problem is no failure yet: the VM may run well. It is what the next recovery, or the next start, would run into.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from app.domain.cluster import ClusterView
from app.domain.node import Node, NodeRole
from app.domain.placement_group import GroupDomain, GroupKind, PlacementGroup
from app.domain.vm import Desired, Vm


@dataclass(frozen=True, slots=True)
class Problem:
    """`field`: what of a VM would have to change. `vms`: whom it concerns. `text`: what is wrong and what to do."""

    kind: str
    field: str
    vms: tuple[int, ...]
    text: str


def placement_problems(view: ClusterView) -> tuple[Problem, ...]:
    """All there are, for VMs that are not being deleted."""
    vms = [v for v in view.vms if v.desired is not Desired.DELETED]
    hosts = [n for n in view.nodes if n.role is not NodeRole.WITNESS]
    found = [p for v in vms for p in _of_vm(view, hosts, v)]
    found += [p for g in view.groups for p in _of_group(hosts, g, vms)]
    found += _contradictory_groups(view, vms)
    return (*found, *_cycles(vms))


def problems_with(view: ClusterView, vm: Vm) -> tuple[Problem, ...]:
    """Those that concern this VM, as it would be."""
    others = tuple(v for v in view.vms if v.id != vm.id)
    whole = ClusterView(view.nodes, (*others, vm), groups=view.groups, settings=view.settings, at=view.at)
    return tuple(p for p in placement_problems(whole) if vm.id in p.vms)


def _of_vm(view: ClusterView, hosts: list[Node], vm: Vm) -> Iterable[Problem]:
    if hosts:
        yield from (Problem(kind, field, (vm.id,), f"{vm.name} {told}") for kind, field, told in _reach(hosts, vm))
        yield from (Problem(kind, field, (vm.id,), f"{vm.name} {told}") for kind, field, told in _size(view, hosts, vm))
    known = {g.name for g in view.groups if g.project_id == vm.project_id}
    for name in vm.needs.groups:
        if name not in known:
            told = f"{vm.name} is in the group {name}, which its project does not have"
            yield Problem("group", "groups", (vm.id,), told)
    ids = {v.id for v in view.vms}
    for other in vm.ha.waits_for:
        if other not in ids:
            yield Problem("waits-for", "waits_for", (vm.id,), f"{vm.name} waits for VM {other}, which does not exist")


def _reach(hosts: list[Node], vm: Vm) -> Iterable[tuple[str, str, str]]:
    needs = vm.needs
    unknown = [t for t in needs.tags if not any(t in n.tags for n in hosts)]
    for tag in unknown:
        yield "tag", "tags", f"needs the tag {tag}, which no node has: tag a node, or drop the demand"
    for tag in set(needs.tags) & set(needs.avoid_tags):
        yield "tag", "avoid_tags", f"needs and avoids the tag {tag}: drop one of the two"
    wanted, unwanted = set(needs.tags), set(needs.avoid_tags)
    if not unknown and not any(wanted <= set(n.tags) and not unwanted & set(n.tags) for n in hosts):
        yield "tags", "tags", "finds no node that has all the tags it needs and none that it avoids"
    for network in needs.networks:
        if all(n.networks and network not in n.networks for n in hosts):
            yield "network", "networks", f"needs the network {network}, which no node reaches"
    if needs.cpu_model and all(n.cpu_models and needs.cpu_model not in n.cpu_models for n in hosts):
        yield "cpu-model", "cpu_model", f"needs the CPU model {needs.cpu_model}, which no node offers"
    if all(n.pools and vm.pool not in n.pools for n in hosts):
        yield "pool", "pool", f"is in the pool {vm.pool}, which no node reaches"


def _size(view: ClusterView, hosts: list[Node], vm: Vm) -> Iterable[tuple[str, str, str]]:
    largest = max(int(n.memory_mib * view.settings.memory_overcommit) for n in hosts)
    if vm.memory_mib > largest:
        yield "too-large", "memory_mib", f"needs {vm.memory_mib} MiB, the largest node has {largest} MiB"
    most = max(n.cores for n in hosts)
    if vm.cores > most:
        yield "too-many-cores", "cores", f"needs {vm.cores} cores, the largest node has {most}"


def _members(group: PlacementGroup, vms: Iterable[Vm]) -> list[Vm]:
    return [v for v in vms if v.project_id == group.project_id and group.name in v.needs.groups]


def _domains(hosts: Iterable[Node], group: PlacementGroup) -> dict[str, list[Node]]:
    domains: dict[str, list[Node]] = {}
    for node in hosts:
        domains.setdefault(node.name if group.domain is GroupDomain.NODE else node.rack, []).append(node)
    return domains


def _of_group(hosts: list[Node], group: PlacementGroup, vms: list[Vm]) -> Iterable[Problem]:
    members = _members(group, vms)
    ids = tuple(v.id for v in members)
    domains = _domains(hosts, group)
    what = f"{group.domain.value}s"
    if group.kind is GroupKind.SPREAD and len(members) > len(domains):
        told = (
            f"the group {group.name} must be spread: it has {len(members)} VMs, there are {len(domains)} {what}; "
            "take VMs out, or make it spread-soft"
        )
        yield Problem("spread", "groups", ids, told)
    if group.kind is GroupKind.TOGETHER and members and domains:
        need = sum(v.memory_mib for v in members)
        most = max(sum(n.memory_mib for n in nodes) for nodes in domains.values())
        if need > most:
            told = f"the group {group.name} must be together: it needs {need} MiB, the largest of {what} has {most} MiB"
            yield Problem("together", "groups", ids, told)


def _contradictory_groups(view: ClusterView, vms: list[Vm]) -> Iterable[Problem]:
    """Two VMs cannot be apart and together; apart by node and together in a rack they can."""
    groups = [(g, {v.id for v in _members(g, vms)}) for g in view.groups]
    for apart, these in groups:
        for joint, those in groups:
            if apart.kind is not GroupKind.SPREAD or joint.kind is not GroupKind.TOGETHER or len(these & those) < 2:
                continue
            if apart.domain is GroupDomain.NODE and joint.domain is GroupDomain.RACK:
                continue
            both = tuple(sorted(these & those))
            told = f"the VMs {', '.join(map(str, both))} must be apart ({apart.name}) and together ({joint.name})"
            yield Problem("apart-and-together", "groups", both, f"{told}: take them out of one of the two groups")


def _cycles(vms: list[Vm]) -> Iterable[Problem]:
    """Each ring of VMs that wait for one another, once."""
    waits = {v.id: v.ha.waits_for for v in vms}
    done: set[int] = set()
    for start in sorted(waits):
        path: list[int] = []
        todo: list[tuple[int, int]] = [(start, 0)]
        while todo:
            at, depth = todo.pop()
            del path[depth:]
            if at in path:
                ring = path[path.index(at) :]
                told = f"these VMs wait for one another: {' -> '.join(map(str, [*ring, at]))}"
                if not done & set(ring):
                    yield Problem("waits-for", "waits_for", tuple(ring), f"{told}: none would ever start")
                    done.update(ring)
                continue
            if at in waits and at not in done:
                path.append(at)
                todo += [(other, len(path)) for other in reversed(waits[at])]
        done.update(path)
