"""A rolling reboot or upgrade: one row that says which nodes are still to come, and how far the present one is.

The row is there from the first migration on, so that two that begin one at the same time collide on it. Everything that
a coordinator needs to go on is in it and in the rows of the nodes: who leads next needs no hand-over.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

#: how the health of a node begins that cannot upgrade itself
UPGRADE_REFUSED = "upgrade refused"


class RunState(StrEnum):
    """`stopping`: an operator wants no further node; the one that reboots is waited for."""

    NONE = "none"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DONE = "done"


class RunStep(StrEnum):
    """Where the present node stands: its VMs move away; it is to reboot, or to upgrade its package; it is back and must
    stay well for a moment.
    """

    DRAINING = "draining"
    REBOOTING = "rebooting"
    UPGRADING = "upgrading"
    SETTLING = "settling"


@dataclass(frozen=True, slots=True)
class RollingRun:
    """`node`: the present one, empty between two. `boot_id`: the boot of it that is to end. `since`: when its present
    step began. `forced`: steps that break the guarantee are taken all the same. `said`: the last that there is to tell.
    `version`: what the nodes are upgraded to; empty: they reboot. `rebooted`: those that are through, by either.

    `turns` grows with every write: what was decided on an older row is refused.
    """

    id: int = 1
    state: RunState = RunState.NONE
    pending: tuple[str, ...] = ()
    rebooted: tuple[str, ...] = ()
    node: str = ""
    step: RunStep = RunStep.DRAINING
    boot_id: str = ""
    started: datetime | None = None
    since: datetime | None = None
    forced: bool = False
    said: str = ""
    turns: int = 0
    version: str = ""

    @property
    def title(self) -> str:
        """What it is, for events and refusals."""
        return f"rolling upgrade to {self.version}" if self.version else "rolling reboot"

    @property
    def active(self) -> bool:
        """True until it is done or stopped."""
        return self.state in (RunState.RUNNING, RunState.STOPPING)
