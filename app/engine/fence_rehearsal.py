"""The rehearsal: each agent reads the fence devices of the others on a schedule, so a dead one is known in time."""

import zlib
from collections.abc import Mapping, Sequence

from app.domain.node import NodeRole
from app.engine.storage_fencing import PoolFence
from app.ports.clock import Clock
from app.ports.fencing import FenceFailed, FenceMethod, FenceMethods
from app.ports.storage_fence import StorageFence
from app.ports.store import Store
from app.services.report_fence_checks import FenceAnswer, report_fence_checks

#: a device that needs longer for its state is of no use in a recovery
_READ_SECONDS = 10.0
#: what another node read counts for so many rounds
_COUNTS_ROUNDS = 3


class FenceRehearsal:
    """One round: read every device of the other nodes, and of each pool with a fence how it has them, one after the
    other, and write down what they said.

    It reads and never switches. Its own devices a node leaves out: it will never fence itself, and a controller that
    shares the host's network port cannot be reached from that host.
    """

    def __init__(
        self,
        me: str,
        nodes: Sequence[str],
        methods: FenceMethods,
        store: Store,
        clock: Clock,
        interval_seconds: float,
        storage_fences: Mapping[str, StorageFence],
    ) -> None:
        self._me, self._methods, self._store, self._clock = me, methods, store, clock
        self._nodes = sorted(set(nodes) - {me})
        self._counts_seconds = _COUNTS_ROUNDS * interval_seconds
        self._addresses: Mapping[str, str] = {}
        self._pools = [PoolFence(p, f, lambda: self._addresses) for p, f in sorted(storage_fences.items())]

    def __call__(self) -> None:
        answers = [_read(m, n) for n in self._nodes for m in self._methods if m.covers(n)]
        if self._pools:
            rows = self._store.run(lambda tx: tx.nodes.where())
            self._addresses = {n.name: n.address for n in rows if n.role is not NodeRole.WITNESS}
            answers += [_read(p, n) for n in sorted(self._addresses) if n != self._me for p in self._pools]
        now = self._clock.utc()
        self._store.run(lambda tx: report_fence_checks(tx, self._me, answers, self._counts_seconds, now))


def first_round_seconds(node: str, interval_seconds: float) -> float:
    """When a node's first round begins: each node at its own moment, so that a device is not asked by all at once."""
    return interval_seconds * (zlib.crc32(node.encode()) % 1000) / 1000


def _read(method: FenceMethod | PoolFence, node: str) -> FenceAnswer:
    try:
        seen = method.read(node, _READ_SECONDS)
    except FenceFailed as failed:
        return FenceAnswer(node, method.name, works=False, said=str(failed))
    return FenceAnswer(node, method.name, works=True, said=seen.said)
