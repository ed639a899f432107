"""In which order nodes are taken. Strategies have names; `ClusterSettings.strategy` chooses one.

Ties go to the first name, so that the same input gives the same output.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


class Room(Protocol):
    """What a strategy looks at: VMs on the node, memory in MiB free."""

    @property
    def vms(self) -> int: ...
    @property
    def free(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Strategy:
    """`order`: the smallest comes first. `praise`: what the first has before the others, as a phrase."""

    name: str
    order: Callable[[Room], tuple[int, int]]
    praise: Callable[[Room], str]
    later: Callable[[Room, str], str]


STRATEGIES: Mapping[str, Strategy] = {
    s.name: s
    for s in (
        Strategy(
            "fewest-vms",
            lambda room: (room.vms, -room.free),
            lambda room: f"fewest VMs ({room.vms})",
            lambda room, best: f"has {room.vms} VMs, more than {best} or later in order",
        ),
        Strategy(
            "best-fit",
            lambda room: (room.free, room.vms),
            lambda _: "the least memory free",
            lambda room, best: f"has {room.free} MiB of memory free, more than {best} or later in order",
        ),
    )
}
DEFAULT = "fewest-vms"


def strategy_named(name: str) -> Strategy:
    """The strategy; the reference algorithm for a name that this version does not know, so that no plan fails."""
    return STRATEGIES.get(name) or STRATEGIES[DEFAULT]
