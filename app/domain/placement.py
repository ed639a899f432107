"""Which node takes a VM, and what is said about those that do not.

The default strategy is the reference algorithm (`fewest-vms`): order the nodes by number of VMs, take the first that
has enough free memory for this VM; a spare is used only in a recovery.
"""

from collections import Counter
from dataclasses import dataclass

from app.domain.cluster import ClusterView
from app.domain.placement_group import GroupKind
from app.domain.placement_ledger import Groups, Ledger, Load, Space
from app.domain.vm import Vm

__all__ = [
    "Judgement",
    "Load",
    "NoRoom",
    "Placement",
    "choose_node",
    "choose_space",
    "explain",
    "loads_of",
    "why_not",
    "why_not_move",
]

#: so many nodes are named one by one in a reason; of the rest it says how many there are of each sort
_NAMED_MAX = 8


@dataclass(frozen=True, slots=True)
class Placement:
    """A node was found. `why` says what made it the choice, `others` why not the rest."""

    node: str
    why: str
    others: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class NoRoom:
    """No node was found. `others` says for each node why not."""

    others: tuple[tuple[str, str], ...]

    @property
    def reason(self) -> str:
        """One sentence for a human, of a bearable length also with a thousand nodes."""
        said = [f"{node}: {why}" for node, why in self.others[:_NAMED_MAX]]
        rest = Counter(_without_figures(why) for _, why in self.others[_NAMED_MAX:])
        said += [f"{n} more: {why}" for why, n in sorted(rest.items(), key=lambda x: (-x[1], x[0]))]
        return "no node can take it: " + ("; ".join(said) or "there are no nodes")


def _without_figures(why: str) -> str:
    """Nodes that lack the same thing are one sort, however much each lacks."""
    if why.startswith("has ") and why.endswith(" needed"):
        return "less free than needed" if "free" in why else "too few cores"
    return why


def loads_of(view: ClusterView) -> dict[str, Load]:
    """The load of every node by name. A VM counts where it is assigned and wanted running."""
    return Ledger(view).loads()


def choose_node(
    view: ClusterView, vm: Vm, *, recovery: bool = False, among: frozenset[str] | None = None
) -> Placement | NoRoom:
    """The node for one VM by the cluster's strategy, or why none. What the VM itself holds now counts as free.

    `among`: only these nodes are asked; what groups have on others counts all the same.
    """
    ledger = Ledger(view)
    if (held := next((v for v in view.vms if v.id == vm.id), None)) is not None:
        ledger.forget(held)
    return choose_space(ledger, vm, recovery=recovery, among=among)


def choose_space(
    ledger: Ledger, vm: Vm, *, recovery: bool = False, among: frozenset[str] | None = None
) -> Placement | NoRoom:
    """`choose_node` on a ledger."""
    suited, against = ledger.suited(vm, recovery=recovery)
    scores, groups = ledger.scores(vm, suited), ledger.groups_of(vm)
    order = ledger.strategy.order
    in_order = sorted(
        (s for s in ledger.spaces if among is None or s.node.name in among),
        key=lambda s: (-scores.get(s.node.name, 0.0), company(ledger, groups, s), order(s), s.index),
    )
    judged = [(s, against[s.node.name] or ledger.crowded(vm, s)) for s in in_order]
    best = next((s for s, refused in judged if not refused), None)
    if best is None:
        return NoRoom(tuple((s.node.name, refused) for s, refused in judged))
    others = tuple(
        (s.node.name, refused or _second(ledger, groups, scores.get(s.node.name, 0.0), s, best))
        for s, refused in judged
        if s is not best
    )
    return Placement(best.node.name, praise(ledger, vm, best, scores.get(best.node.name, 0.0)), others)


def company(ledger: Ledger, groups: Groups, space: Space) -> int:
    """How many VMs are there already that these groups would rather have elsewhere."""
    return sum(ledger.places_of(g).get(space.domain(g), 0) for g in groups if g.kind is GroupKind.SPREAD_SOFT)


def praise(ledger: Ledger, vm: Vm, space: Space, score: float = 0.0) -> str:
    """What made this node the choice; it does not carry the VM yet."""
    liked = f"a plugin's score of {score:g}, then " if score else ""
    best = ledger.strategy.praise(space)
    return f"{liked}{best} of the nodes with {vm.memory_mib} MiB of memory free ({space.free} MiB)"


def _second(ledger: Ledger, groups: Groups, score: float, space: Space, best: Space) -> str:
    if score:
        return f"has a plugin's score of {score:g}, less than {best.node.name} or later in order"
    if near := company(ledger, groups, space):
        return f"has {near} VMs of a group that should be spread, more than {best.node.name} or later in order"
    return ledger.strategy.later(space, best.node.name)


def why_not_move(ledger: Ledger, vm: Vm, node: str) -> str:
    """Why a VM that has a node cannot go from there to this one; empty when it can."""
    ledger.forget(vm)
    refused = why_not(ledger, vm, node)
    ledger.count(vm)
    return refused


def why_not(ledger: Ledger, vm: Vm, node: str, *, recovery: bool = False) -> str:
    """Why this node cannot take this VM; empty when it can."""
    space = ledger.space(node)
    if space is None:
        return "is not in the cluster"
    _, against = ledger.suited(vm, recovery=recovery)
    return against[node] or ledger.crowded(vm, space)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of one node for one VM, in the order in which the strategy would take them."""

    node: str
    takes: bool
    why: str


def explain(view: ClusterView, vm: Vm) -> tuple[Judgement, ...]:
    """Every node, as if this VM had to be placed now; one that waits from a recovery may use spares."""
    choice = choose_node(view, vm, recovery=vm.incident_id is not None)
    if isinstance(choice, NoRoom):
        return tuple(Judgement(node, False, why) for node, why in choice.others)
    ledger = Ledger(view)
    ledger.forget(vm)
    recovery = vm.incident_id is not None
    rest = tuple(Judgement(n, not why_not(ledger, vm, n, recovery=recovery), why) for n, why in choice.others)
    return (Judgement(choice.node, True, choice.why), *rest)
