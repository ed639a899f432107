"""The coordinator's work with the fences of the pools. A cut counts when each pool was read as cut after it."""

from collections.abc import Callable, Mapping, Sequence

import structlog

from app.domain import events as fact
from app.domain import fence_actions as fencing
from app.domain.cluster import Proof
from app.domain.errors import Conflict, StaleEpoch
from app.domain.events import Event
from app.domain.storage_fencing import METHOD
from app.engine.ports import AgentPorts
from app.ports.fencing import FenceFailed, FenceReading
from app.ports.storage import StorageError
from app.ports.storage_fence import StorageClient, StorageFence
from app.ports.store import StoreUnavailable
from app.services.storage_cut import begin_cut, end_cut, may_restore

log = structlog.get_logger(__name__)


class PoolFence:
    """The fence of one pool, as the rehearsal reads it."""

    def __init__(self, pool: str, fence: StorageFence, addresses: Callable[[], Mapping[str, str]]) -> None:
        self.name = f"{METHOD}:{pool}"
        self._fence, self._addresses = fence, addresses

    def read(self, node: str, timeout_seconds: float) -> FenceReading:
        """Whether the node is cut off; FenceFailed when the pool cannot say it."""
        try:
            return self._fence.read(StorageClient(node, self._addresses()[node]), timeout_seconds)
        except StorageError as error:
            raise FenceFailed(str(error)) from error


def cut_storage(ports: AgentPorts, cut: fencing.CutStorage) -> Sequence[Event]:
    """Write that it begins, cut, read."""

    def ended(proof: Proof | None, error: str = "") -> Sequence[Event]:
        return (fact.FenceAttempted(cut.epoch, cut.node, METHOD, proof, error),)

    client, now = StorageClient(cut.node, cut.address), ports.clock.utc()
    try:
        token = ports.store.run(lambda tx: begin_cut(tx, cut.epoch, cut.node, cut.pools, now))
        for pool in cut.pools:
            _fence(ports, pool).cut(client, token, cut.timeout_seconds)
        off, said = _read(ports, client, cut.pools, cut.timeout_seconds)
    except StaleEpoch:
        return (*ended(None, "another coordinator leads"), fact.EpochLost(cut.epoch))
    except (StoreUnavailable, Conflict, StorageError) as error:
        return ended(None, f"{METHOD}: {error}")
    except Exception as error:
        log.exception("unexpected failure", what="cutting a node off from its storage")
        return ended(None, f"{METHOD}: {type(error).__name__}: {error}")
    return ended(Proof(METHOD, said)) if off else ended(None, f"{METHOD}: {cut.node} is not cut off; {said}")


def read_storage(ports: AgentPorts, read: fencing.ReadStorage) -> Sequence[Event]:
    """Read whether it is cut off from all of them; from none of them is no answer."""
    client = StorageClient(read.node, read.address)
    try:
        off, said = _read(ports, client, read.pools, read.timeout_seconds) if read.pools else (None, "no fence here")
    except StorageError as error:
        off, said = None, str(error)
    except Exception as error:
        log.exception("unexpected failure", what="reading a storage fence")
        off, said = None, f"{type(error).__name__}: {error}"
    return (fact.FenceRead(read.epoch, read.node, METHOD, off, said, read.asked_at),)


def restore_storage(ports: AgentPorts, order: fencing.RestoreStorage) -> Sequence[Event]:
    """Give it back, read that it is, and write that down."""
    client, now = StorageClient(order.node, order.address), ports.clock.utc()
    try:
        ports.store.run(lambda tx: may_restore(tx, order.epoch, order.node))
        for pool in order.pools:
            fence = _fence(ports, pool)
            fence.restore(client, order.token, order.timeout_seconds)
            if fence.read(client, order.timeout_seconds).off:
                raise StorageError(f"{pool}: {order.node} still is cut off")
        ports.store.run(lambda tx: end_cut(tx, order.epoch, order.node, order.token, now))
    except StaleEpoch:
        return fact.StorageRestored(order.node, "another coordinator leads"), fact.EpochLost(order.epoch)
    except (StoreUnavailable, Conflict, StorageError) as error:
        log.warning("a node does not get its storage back", node=order.node, error=str(error))
        return (fact.StorageRestored(order.node, str(error)),)
    except Exception as error:
        log.exception("unexpected failure", what="giving a node its storage back")
        return (fact.StorageRestored(order.node, f"{type(error).__name__}: {error}"),)
    return (fact.StorageRestored(order.node),)


def _read(ports: AgentPorts, client: StorageClient, pools: Sequence[str], timeout_seconds: float) -> tuple[bool, str]:
    read = {pool: _fence(ports, pool).read(client, timeout_seconds) for pool in pools}
    return all(r.off for r in read.values()), "; ".join(f"{pool}: {r.said}" for pool, r in read.items())


def _fence(ports: AgentPorts, pool: str) -> StorageFence:
    try:
        return ports.storage_fences[pool]
    except KeyError:
        raise StorageError(f"{pool} offers no fence on this node") from None
