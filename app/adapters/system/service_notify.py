"""What systemd is told of this process, see sd_notify(3): a datagram to the socket that NOTIFY_SOCKET names."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


class ServiceNotify:
    """Outside of systemd there is no socket, and nothing is said. Never raises and never blocks."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # A path, or a name in the abstract name space, which systemd writes with an @ for its first zero byte.
        self._address = "\0" + path[1:] if path.startswith("@") else path

    def ready(self) -> None:
        """Started: for Type=notify."""
        self._say("READY=1")

    def alive(self) -> None:
        """For WatchdogSec=: a process that is silent for so long is killed and started again."""
        self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """On the way out."""
        self._say("STOPPING=1")

    def _say(self, what: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as plain:
            plain.sendto(what.encode(), self._address)
