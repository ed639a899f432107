"""The port `Membership` on Corosync: one thread that talks to it, and turns what it says into events."""

import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import structlog

from app.adapters.corosync.abi import CorosyncError, cpg_library, quorum_library
from app.adapters.corosync.agents_group import AgentsGroup
from app.adapters.corosync.connections import Connections, Wakeup
from app.adapters.corosync.cpg import CpgConnection, Delivered, GroupSeen
from app.adapters.corosync.signals import MalformedSignal, decode, encode
from app.domain.events import MembershipChanged
from app.ports.membership import MembershipEvent

log = structlog.get_logger(__name__)

RECONNECT_SECONDS_MIN = 0.2
RECONNECT_SECONDS_MAX = 1.0
#: a signal that could not be sent for so long is dropped: a sweep has done its work by then
SIGNAL_SECONDS_MAX = 5.0
SIGNALS_WAITING_MAX = 1000
_SEND_AGAIN_MILLISECONDS = 20
#: how long `stop` waits for the thread, which a frozen corosync can hold in a call
_STOP_SECONDS_MAX = 5.0


class CorosyncMembership:
    """This process in the cluster that corosync on this machine is in.

    `node_names`: corosync's node id -> the node's name, looked up each time; another id is called node-<id>.
    `agent`: also join the agents' group, and report its changes; others (the API) get MembershipChanged and
    SignalReceived only.

    When corosync is gone, "not quorate" and the empty group are reported once, at once, and the connection is tried
    again after 0.2 s, later 1 s. A corosync that is frozen is not noticed here.
    """

    def __init__(self, node_names: Mapping[int, str], *, agent: bool) -> None:
        self._node_names = node_names
        self._agent = agent
        self._agents = AgentsGroup(self._name_of)
        self._sink: Callable[[MembershipEvent], None] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lost_reported = False
        self._last_error = ""
        self._waiting: deque[tuple[float, bytes]] = deque(maxlen=SIGNALS_WAITING_MAX)
        self._wakeup = Wakeup()

    def start(self, sink: Callable[[MembershipEvent], None]) -> None:
        """Once. Raises CorosyncError only when corosync's libraries are not installed."""
        assert self._thread is None, "started twice"
        quorum_library()
        cpg_library()
        self._sink = sink
        self._thread = threading.Thread(target=self._run, name="holdfast-corosync", daemon=True)
        self._thread.start()

    def send(self, kind: str, *, vm_id: int | None = None, epoch: int = 0, node: str = "") -> None:
        """Leave it for the thread; also before `start` and while corosync is away."""
        self._waiting.append((time.monotonic(), encode(kind, vm_id, epoch, node)))
        self._wakeup.set()

    def stop(self) -> None:
        """Leave the groups. No event comes after it; may be called again, and from the sink."""
        self._stopping.set()
        self._wakeup.set()
        if self._thread is None:
            self._wakeup.close()
        elif self._thread is not threading.current_thread():
            self._thread.join(_STOP_SECONDS_MAX)

    # -- the thread

    def _run(self) -> None:
        pause_seconds = RECONNECT_SECONDS_MIN
        while not self._stopping.is_set():
            connections = Connections()
            try:
                connections.open(self._agent)
                pause_seconds = RECONNECT_SECONDS_MIN
                self._connected()
                self._serve(connections)
            except CorosyncError as error:
                self._lost(str(error))
            except Exception:
                # A bug, here or in the sink. What was told last may be lost: only a new connection tells all again.
                log.exception("corosync: unexpected error, connecting again")
                self._lost("unexpected error")
            finally:
                connections.close()
            self._stopping.wait(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RECONNECT_SECONDS_MAX)
        self._wakeup.close()

    def _serve(self, connections: Connections) -> None:
        """Until `stop`, or an exception when corosync is gone."""
        poller = select.poll()
        for fd in (self._wakeup.fd, *connections.fds()):
            poller.register(fd, select.POLLIN)
        while not self._stopping.is_set():
            ready = set()
            for fd, conditions in poller.poll(_SEND_AGAIN_MILLISECONDS if self._waiting else None):
                if conditions & ~select.POLLIN:
                    raise CorosyncError("corosync has closed the connection")
                ready.add(fd)
            self._wakeup.clear()
            self._take_in(connections, ready)
            self._send_waiting(connections.signals)

    def _take_in(self, connections: Connections, ready: set[int]) -> None:
        if connections.quorum.fd in ready:
            for view in connections.quorum.dispatch():
                self._put(MembershipChanged(frozenset(map(self._name_of, view.members)), view.quorate))
        if connections.agents is not None and connections.agents.fd in ready:
            for fact in connections.agents.dispatch():
                if isinstance(fact, GroupSeen):
                    changed = self._agents.take_in(fact)
                    if changed is not None:
                        self._put(changed)
        if connections.signals.fd in ready:
            for fact in connections.signals.dispatch():
                if isinstance(fact, Delivered):
                    self._deliver(fact)

    def _deliver(self, message: Delivered) -> None:
        node_id, pid = message.sender
        if node_id not in self._node_names:
            log.warning("signal from an unknown node ignored", node_id=node_id, pid=pid)
            return
        try:
            signal = decode(self._node_names[node_id], message.payload)
        except MalformedSignal as error:
            log.warning("malformed signal ignored", node=self._node_names[node_id], pid=pid, error=str(error))
            return
        self._put(signal)

    def _send_waiting(self, signals: CpgConnection) -> None:
        """Only this thread takes from the queue; `send` adds to its end."""
        while self._waiting:
            queued_at, payload = self._waiting[0]
            if time.monotonic() - queued_at > SIGNAL_SECONDS_MAX:
                log.info("signal dropped, it could not be sent in time")
            elif not signals.send(payload):
                return
            self._waiting.popleft()

    def _connected(self) -> None:
        if self._agent:  # else the API, and commands: they say what they have to say
            log.info("corosync: connected")
        self._lost_reported = False
        self._last_error = ""

    def _lost(self, error: str) -> None:
        """Tell it before anything else, once for each loss."""
        if not self._lost_reported:
            self._lost_reported = True
            try:
                self._put(MembershipChanged(frozenset(), False))
                if self._agent:
                    self._put(self._agents.lost())
            except Exception:
                log.exception("corosync: the loss could not be reported")
                self._lost_reported = False
        if error != self._last_error:
            self._last_error = error
            log.warning("corosync: not connected", error=error)

    def _put(self, event: MembershipEvent) -> None:
        if self._sink is not None and not self._stopping.is_set():
            self._sink(event)

    def _name_of(self, node_id: int) -> str:
        return self._node_names.get(node_id, f"node-{node_id}")
