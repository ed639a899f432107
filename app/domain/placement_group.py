"""VMs that must be, or should be, apart or together."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class GroupKind(StrEnum):
    """`spread`: never two in one domain. `spread-soft`: two only where nothing else is left. `together`: all in one."""

    SPREAD = "spread"
    SPREAD_SOFT = "spread-soft"
    TOGETHER = "together"


class GroupDomain(StrEnum):
    """What counts as one place: a node, or all nodes of a rack."""

    NODE = "node"
    RACK = "rack"


@dataclass(frozen=True, slots=True)
class PlacementGroup:
    """A group of a project; a VM names the groups it is in (`PlacementNeeds.groups`)."""

    id: int
    project_id: int
    name: str
    kind: GroupKind = GroupKind.SPREAD
    domain: GroupDomain = GroupDomain.NODE
    labels: dict[str, str] = field(default_factory=dict)
    created: datetime | None = None
