"""Look at the heartbeat over the storage: whose beat goes on, as this node reads it."""

import time
from collections.abc import Callable, Collection
from typing import Any

from app.domain.storage_heartbeat import HeartbeatTimes
from app.ports.storage_heartbeat import HeartbeatLost, StorageHeartbeat


def look_at_beats(
    heartbeat: StorageHeartbeat, members: Collection[str], sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """The fields of `Seen`. Two readings, as far apart as one that stands still is old."""
    try:
        before = {b.node: (b.boot, b.counter) for b in heartbeat.beats()}
        sleep(HeartbeatTimes().silence_seconds)
        after = {b.node: (b.boot, b.counter) for b in heartbeat.beats()}
    except HeartbeatLost as error:
        return {"heartbeat_error": str(error)}
    return {"heartbeats_still": tuple(m for m in sorted(members) if after.get(m) == before.get(m))}
