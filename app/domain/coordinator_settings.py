"""The figures that the coordinator decides with, by value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.fencing import FencingTimes
from app.domain.rebalance import RebalanceSettings
from app.domain.rolling_steps import RollingTimes
from app.domain.storage_heartbeat import HeartbeatTimes


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """All in seconds. `fence_methods` names for each node its levels of power fencing, in the order in which they are
    tried; `storage_fences` the pools that can cut a node off, which is tried beside them."""

    times: FencingTimes = field(default_factory=FencingTimes)
    fence_methods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    storage_fences: frozenset[str] = frozenset()
    #: a node whose devices read "on" may only have lost its network for a moment: its power is not cut before it was
    #: absent for so long. With the time in which Corosync notices a loss (at least 2.8 s) and takes a node in again
    #: (1 s) it covers a cut of 5 s.
    blip_seconds: float = 3.5
    #: a plan waits so long for the device to be read once more; one that cannot be read then (it died with the node)
    #: does not hold up the recovery
    confirm_seconds_max: float = 3.0
    #: how long Corosync may take to drop a node that was fenced while it was a member; after that its proof is void
    leave_seconds_max: float = 10.0
    #: a member whose agent has said nothing for so long is soft-fenced (`soft_fence`). Well below the watchdog's time,
    #: so that an agent that was started again feeds it still; and its power is cut when that did not help for so long
    agent_silence_seconds: float = 4.0
    soft_fence_wait_seconds: float = 20.0
    view_interval_seconds: float = 2.0
    lead_interval_seconds: float = 1.0
    leader_silence_seconds: float = 4.0
    #: as in NodeAgentSettings
    ring_silence_seconds: float = 2.0
    campaign_retry_seconds: float = 0.5
    store_retry_seconds: float = 0.5
    #: nothing is fenced that this agent has not itself seen alive, until it has been quorate for this long
    startup_grace_seconds: float = 30.0
    #: a lost node that comes back before any proof must stay for this long to be let in again
    return_settle_seconds: float = 1.0
    #: a step that comes later than this after the last one: we were stopped, others may have gone on without us.
    #: Not above the time in which Corosync notices a loss: a shorter pause goes unnoticed by all.
    pause_seconds_max: float = 2.0
    #: after such a pause nothing is decided for so long: by then Corosync has said what we missed
    pause_settle_seconds: float = 2.0
    #: after a migration failed the next try waits; the pause doubles
    move_retry_seconds: float = 15.0
    rebalance: RebalanceSettings = field(default_factory=RebalanceSettings)
    rolling: RollingTimes = field(default_factory=RollingTimes)
    #: None: there is no heartbeat over storage
    heartbeat: HeartbeatTimes | None = None
