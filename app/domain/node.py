"""A node: a physical server of the cluster, and the life it leads in the eyes of the others.

    ONLINE --absent--> LOST --proof, and all its VMs planned--> FENCED --cleaned itself--> ONLINE
                        \\--back before any proof--> ONLINE

The invariant that the table carries: a node hosts VMs only while it is ONLINE. A node that reads
LOST or FENCED in its own row starts and resumes nothing, so a proof, once true, stays true until
the coordinator itself lets the node back in.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class NodeRole(StrEnum):
    """What a node is for. A spare takes VMs only in a recovery; a witness takes none, ever."""

    COMPUTE = "compute"
    SPARE = "spare"
    WITNESS = "witness"


#: `Node.database` of a member that has everything
DATABASE_SYNCED = "synced"


class NodeState(StrEnum):
    """Where a node stands with the coordinator."""

    ONLINE = "online"
    LOST = "lost"
    FENCED = "fenced"


#: (state, what happened) -> new state. Anything not listed is a defect and raises.
TRANSITIONS: dict[tuple[NodeState, str], NodeState] = {
    (NodeState.ONLINE, "absent"): NodeState.LOST,
    (NodeState.LOST, "returned"): NodeState.ONLINE,
    (NodeState.LOST, "fenced"): NodeState.FENCED,
    (NodeState.FENCED, "cleaned"): NodeState.ONLINE,
}


@dataclass(frozen=True, slots=True)
class Node:
    """One row of the cluster's nodes.

    `watchdog_seconds` is the timeout of the watchdog that this node's agent reported as armed, None if
    it has none: only then can the passing of time prove anything about it. `boot_id` is the boot that
    its agent last reported; a new one proves that everything from before is gone.
    """

    id: int
    name: str
    address: str
    role: NodeRole = NodeRole.COMPUTE
    state: NodeState = NodeState.ONLINE
    memory_mib: int = 0
    cores: int = 0
    rack: str = ""
    maintenance: bool = False
    watchdog_seconds: float | None = None
    boot_id: str = ""
    health: str = "unknown"
    #: grows with every placement on this node: two requests that place at once then collide in the database
    placements: int = 0
    #: what its agent reported: CPU models it can offer, pools and networks it reaches; empty: nothing was said
    cpu_models: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    #: what operators call it
    tags: tuple[str, ...] = ()
    #: VMs are to be moved away, for a maintenance
    evacuating: bool = False
    #: its recent losses, and until when it is kept out because of them
    losses: tuple[datetime, ...] = ()
    quarantined_until: datetime | None = None

    #: the policy of the orderly shutdown that is under way (`host_shutdown`), and until when its VMs wait for it
    leaving: str = ""
    frozen_until: datetime | None = None
    #: the boot of it that its agent is to end, when nothing runs there; empty: none
    reboot_of: str = ""
    #: what the heartbeat over storage says of it (`storage_heartbeat.NodeClass`); empty: well, or there is none
    condition: str = ""

    #: pools whose volumes it has been cut off from, or is being cut off from, and the number of that cut, which grows
    #: (`ports.storage_fence`); its agent has attested, since it was fenced, that nothing of before runs there
    storage_cut: tuple[str, ...] = ()
    storage_token: int = 0
    cleaned: bool = False

    #: of its software, as its agent said it; empty: an agent that does not say
    version: str = ""
    #: the version that its agent is to upgrade it to, when nothing runs there; empty: none
    upgrade_to: str = ""
    #: its member of the database: `synced`, empty where it has none, or how far it is instead
    database: str = ""

    @property
    def database_well(self) -> bool:
        """Another node may go without the cluster's state being without a majority for this one's sake."""
        return self.database in ("", DATABASE_SYNCED)

    def after(self, what: str) -> NodeState:
        """The state after `what` happened; KeyError when the table does not allow it."""
        return TRANSITIONS[self.state, what]
