"""All handles of one connection to corosync, and what ends a poll on them from another thread."""

import os
import threading

from app.adapters.corosync.cpg import CpgConnection
from app.adapters.corosync.quorum import QuorumConnection

#: only agents are in it: who is in it can lead
AGENTS_GROUP = "holdfast.agents"
#: agents and API processes are in it: signals go there
SIGNALS_GROUP = "holdfast.signals"


class Connections:
    """What one connection to corosync consists of: a handle for each group, and one for quorum."""

    quorum: QuorumConnection
    signals: CpgConnection
    agents: CpgConnection | None = None

    def __init__(self) -> None:
        self._opened: list[QuorumConnection | CpgConnection] = []

    def open(self, agent: bool) -> None:
        """Signals before agents: an agent that others see in the group hears their signals."""
        self.quorum = QuorumConnection()
        self._opened.append(self.quorum)
        self.signals = CpgConnection(SIGNALS_GROUP)
        self._opened.append(self.signals)
        if agent:
            self.agents = CpgConnection(AGENTS_GROUP)
            self._opened.append(self.agents)

    def fds(self) -> list[int]:
        return [connection.fd for connection in self._opened]

    def close(self) -> None:
        while self._opened:
            self._opened.pop().close()


class Wakeup:
    """Ends a poll from another thread."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._open = True
        self._lock = threading.Lock()

    def set(self) -> None:
        with self._lock:
            if self._open:
                os.eventfd_write(self.fd, 1)

    def clear(self) -> None:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        with self._lock:
            if self._open:
                self._open = False
                os.close(self.fd)
