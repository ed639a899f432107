"""The orderly shutdown of a host, step by step: say it, wait until its VMs are away, within a bounded time."""

from collections.abc import Callable, Sequence

import structlog

from app.domain.errors import DomainError
from app.domain.host_shutdown import ShutdownPolicy
from app.ports.clock import Clock
from app.ports.store import Store, StoreUnavailable
from app.services.leave_node import leave_node, still_up

log = structlog.get_logger(__name__)

#: the share of the time that migrations get; what has not moved by then is restarted elsewhere in the rest
_MIGRATE_SHARE = 0.7


class HostShutdown:
    """What systemd waits for before it stops the rest. `signal` tells the agents to look."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        node: str,
        policy: ShutdownPolicy,
        signal: Callable[[], None],
        *,
        seconds_max: float = 300.0,
        freeze_seconds: float = 900.0,
    ) -> None:
        self._store, self._clock, self._node, self._signal = store, clock, node, signal
        self._policy, self._said = policy, False
        self._freeze_seconds = freeze_seconds
        self._began = clock.monotonic()
        self._seconds_max = seconds_max
        self.left: Sequence[str] = ()

    def step(self) -> bool:
        """True when the host may go down: its VMs are away, or the time is up. `left` names what is still here."""
        spent = self._clock.monotonic() - self._began
        if self._policy is ShutdownPolicy.MIGRATE and spent > _MIGRATE_SHARE * self._seconds_max:
            self._policy, self._said = ShutdownPolicy.RESTART_ELSEWHERE, False
        try:
            if not self._said:
                self._say()
            self.left = self._store.run(lambda tx: still_up(tx, self._node))
        except (StoreUnavailable, DomainError) as error:
            # Without the database nobody can be told: the node is then lost like any other, with a proof.
            log.warning("the shutdown of this node could not be told", error=str(error))
            return spent > self._seconds_max
        return (self._said and not self.left) or spent > self._seconds_max

    def _say(self) -> None:
        now = self._clock.utc()
        self._store.run(lambda tx: leave_node(tx, self._node, self._policy, self._freeze_seconds, now))
        self._said = True
        self._signal()
