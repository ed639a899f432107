"""What an operator sets for the whole cluster while it runs: one row, read with every view."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AfterKeep(StrEnum):
    """What follows when a node was kept for `isolated_keep_seconds`: its VMs run on, or it is fenced."""

    KEEP = "keep"
    FENCE = "fence"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """`armed` False freezes all automation. Shares are 0..1, ratios 1 and more, times seconds.

    `guarantee`: so many node failures must stay survivable; what would break that is refused. 0: no promise.
    `storm_share`: no fence is begun while more than this share of the nodes is lost, unless an operator has lifted that
    guard until `storm_lifted_until`.
    `isolated_keep_seconds`: so long the VMs of a node run on that lost its management network alone, then
    `isolated_then` decides; 0: not at all.
    `quarantine_losses` losses within `quarantine_window_seconds` keep a node out for `quarantine_seconds`.
    """

    id: int = 1
    armed: bool = True
    disarmed_by: str = ""
    disarmed_reason: str = ""
    disarmed_at: datetime | None = None
    strategy: str = "fewest-vms"
    guarantee: int = 0
    memory_overcommit: float = 1.0
    cpu_overcommit: float = 4.0
    storm_share: float = 0.5
    quarantine_losses: int = 3
    quarantine_window_seconds: float = 3600.0
    quarantine_seconds: float = 7200.0
    migrations_max: int = 2
    migrations_per_node_max: int = 1
    #: VMs of recoveries that start at the same time in the whole cluster; 0: no cap but each node's own
    starts_max: int = 0
    rebalance: bool = False
    storm_lifted_until: datetime | None = None
    isolated_keep_seconds: float = 300.0
    isolated_then: AfterKeep = AfterKeep.FENCE
