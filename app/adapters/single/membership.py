"""The port `Membership` for one node alone: always quorate, and its signals come back to itself."""

import queue
import threading
from collections.abc import Callable

import structlog

from app.domain.events import GroupChanged, MembershipChanged, SignalReceived
from app.ports.membership import MembershipEvent

log = structlog.get_logger(__name__)


class SingleNodeMembership:
    """`name`: of this node. Signals stay in this process: another one on the node finds its work by its sweep."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._events: queue.SimpleQueue[MembershipEvent | None] = queue.SimpleQueue()
        me = frozenset({name})
        self._events.put(MembershipChanged(me, True))
        self._events.put(GroupChanged(me, joined=me, left=frozenset()))
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, sink: Callable[[MembershipEvent], None]) -> None:
        """Once."""
        assert self._thread is None, "started twice"
        self._thread = threading.Thread(target=self._run, args=(sink,), name="holdfast-single", daemon=True)
        self._thread.start()

    def send(self, kind: str, *, vm_id: int | None = None, epoch: int = 0, node: str = "") -> None:
        """To this process."""
        self._events.put(SignalReceived(self._name, kind, vm_id, epoch, node))

    def stop(self) -> None:
        """No event comes after it; may be called again, and from the sink."""
        self._stopping.set()
        self._events.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self, sink: Callable[[MembershipEvent], None]) -> None:
        while True:
            event = self._events.get()
            if event is None or self._stopping.is_set():
                return
            try:
                sink(event)
            except Exception:
                log.exception("the inbox did not take an event", event_type=type(event).__name__)
