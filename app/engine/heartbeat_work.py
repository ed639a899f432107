"""The actions of the heartbeat over storage, in lanes of their own: a storage that hangs must hold up nothing else."""

from collections.abc import Sequence

import structlog

from app.domain import events as fact
from app.domain.events import Event
from app.domain.heartbeat_actions import ReadBeats, ReadKeeps, WriteBeat, WriteKeeps
from app.domain.storage_heartbeat import Beat, KeepRecord
from app.engine.ports import AgentPorts
from app.ports.storage_heartbeat import HeartbeatLost

log = structlog.get_logger(__name__)

Work = WriteBeat | ReadKeeps | ReadBeats | WriteKeeps
_LANES: dict[type[Work], str] = {WriteBeat: "beat", ReadKeeps: "lease", ReadBeats: "beats", WriteKeeps: "keeps"}


def lane_of(action: Work) -> str:
    """Also the word for it in HeartbeatFailed."""
    return _LANES[type(action)]


def heartbeat_work(action: Work, ports: AgentPorts) -> Sequence[Event]:
    """The event that it ends in; never raises."""
    try:
        return (_done(action, ports),)
    except HeartbeatLost as error:
        return (fact.HeartbeatFailed(lane_of(action), str(error)),)
    except Exception as error:
        log.exception("unexpected failure", what=lane_of(action))
        return (fact.HeartbeatFailed(lane_of(action), f"{type(error).__name__}: {error}"),)


def _done(action: Work, ports: AgentPorts) -> Event:
    heartbeat, me, boot = ports.heartbeat, ports.facts.name, ports.facts.boot_id
    if heartbeat is None:
        raise HeartbeatLost("no heartbeat over storage is configured on this node")
    match action:
        case WriteBeat(counter, quorate, storage_ok, gave_up, vms):
            heartbeat.write_beat(Beat(me, boot, counter, quorate, storage_ok, gave_up, vms))
            return fact.BeatWritten()
        case ReadKeeps():
            return fact.KeepsRead(tuple(heartbeat.keeps()), boot)
        case ReadBeats(asked_at):
            return fact.BeatsRead(tuple(heartbeat.beats()), boot, asked_at)
        case WriteKeeps(epoch, keeps, revoked):
            heartbeat.write_keeps(KeepRecord(me, epoch, dict(keeps), revoked))
            return fact.KeepsWritten(epoch)
