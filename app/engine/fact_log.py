"""The facts that an operator wants in the journal: what was written, fenced and done to VMs, with its time."""

from collections.abc import Callable, Sequence

import structlog

from app.domain.events import (
    BeatWritten,
    DesiredLoaded,
    EpochLost,
    EpochWon,
    Event,
    FenceAttempted,
    HeartbeatFailed,
    Reported,
    StoreLost,
    VmWorkDone,
    Written,
)

log = structlog.get_logger(__name__)

Put = Callable[[Sequence[Event]], None]


def logged(put: Put) -> Put:
    """`put`, after a line for each fact that is worth one."""
    journal = _Journal()

    def log_and_put(events: Sequence[Event]) -> None:
        for event in events:
            journal.take(event)
        put(events)

    return log_and_put


class _Journal:
    """Remembers only whether database and heartbeat storage answered, to say each change of that once."""

    def __init__(self) -> None:
        self._store_lost = False
        self._beat_lost = False

    def take(self, event: Event) -> None:
        match event:
            case StoreLost(what, error):
                if not self._store_lost:
                    log.warning("no database answers", asked=what, error=error)
                self._store_lost = True
            case DesiredLoaded() | Reported():
                if self._store_lost:
                    log.info("the database answers again")
                self._store_lost = False
            case HeartbeatFailed("beat", error):
                if not self._beat_lost:
                    log.warning("the storage does not take the heartbeat", error=error)
                self._beat_lost = True
            case BeatWritten():
                if self._beat_lost:
                    log.info("the storage takes the heartbeat again")
                self._beat_lost = False
            case Written(what, node):
                log.info("written", what=what, node=node)
            case EpochWon(epoch):
                log.info("leads", epoch=epoch)
            case EpochLost(epoch):
                log.info("leads no more", epoch=epoch)
            case FenceAttempted(_, node, method, proof, error):
                log.info("fence", node=node, method=method, proof=proof.saw if proof else "", error=error)
            case VmWorkDone(vm_id, generation, work, error) if error:
                log.warning("failed", work=work, vm=vm_id, generation=generation, error=error)
            case VmWorkDone(vm_id, generation, work):
                log.info("done", work=work, vm=vm_id, generation=generation)
            case _:
                return
