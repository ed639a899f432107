"""The coordinator tells a node's API that the agent there is silent: at once by a signal, then in the database."""

from collections.abc import Sequence

import structlog

from app.domain.errors import Conflict, StaleEpoch
from app.domain.events import EpochLost, Event
from app.domain.fence_actions import SoftFence
from app.domain.soft_fence import GONE
from app.engine.ports import AgentPorts
from app.ports.store import StoreUnavailable
from app.services.note_soft_fence import note_soft_fence

log = structlog.get_logger(__name__)


def soft_fence(ports: AgentPorts, soft: SoftFence) -> None:
    """No other decision waits for it, so it is in no lane of theirs and has no answer."""
    ports.membership.send(soft.kind, epoch=soft.epoch, node=soft.node)
    ports.workers.submit("lead-note", lambda: _note(ports, soft))


def _note(ports: AgentPorts, soft: SoftFence) -> Sequence[Event]:
    now = ports.clock.utc()
    what = "has left the agents' group" if soft.kind == GONE else "hangs"
    text = f"its agent {what} and was not heard for {soft.silent_seconds:.1f} s: its API is to start it again"
    try:
        ports.store.run(lambda tx: note_soft_fence(tx, soft.epoch, soft.node, text, now))
    except StaleEpoch:
        return (EpochLost(soft.epoch),)
    except (StoreUnavailable, Conflict) as error:
        log.warning("a soft fence could not be written down", node=soft.node, error=str(error))
    return ()
