"""What systemd is told of this process, see sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

#: the agent lives in each of its rounds, a dozen times a second; each word wakes systemd, which looks up whose it is
ALIVE_SECONDS_MIN = 0.5


class ServiceNotify:
    """Outside of systemd there is no socket, and nothing is said. Never raises and never blocks."""

    def __init__(
        self, environment: Mapping[str, str] = os.environ, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._alive_at = float("-inf")
        path = environment.get("NOTIFY_SOCKET", "")
        # A path, or a name in the abstract name space, which systemd writes with an @ for its first zero byte.
        self._address = "\0" + path[1:] if path.startswith("@") else path

    def ready(self) -> None:
        """Started: for Type=notify."""
        self._say("READY=1")

    def alive(self) -> None:
        """For WatchdogSec=: a process that is silent for so long is killed and started again.

        Said at most every `ALIVE_SECONDS_MIN`: a process that stops then has so much less.
        """
        if self._now() - self._alive_at >= ALIVE_SECONDS_MIN:
            self._alive_at = self._now()
            self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """On the way out."""
        self._say("STOPPING=1")

    def _say(self, what: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as plain:
            plain.sendto(what.encode(), self._address)
