"""When a machine was reset from inside: by its watchdog, by a panic or by a reboot."""

import json
import socket
import threading
from datetime import UTC, datetime
from types import TracebackType

from tests.nodes.machine import Machine, until


class Resets:
    """Listens to QEMU's events while it is open. `at`: the host's time of each reset that the guest caused.

    `holds`: after a reset the machine stands in its firmware until this is closed. A server's takes minutes, and its
    boot takes nothing from the others; an emulated one would boot at once, and from their cores.
    """

    def __init__(self, machine: Machine, *, holds: bool = False) -> None:
        self._machine = machine
        self._holds = holds
        self.at: list[datetime] = []
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> "Resets":
        self._line.connect(str(self._machine.events_socket))
        self._line.sendall(b'{"execute": "qmp_capabilities"}\n')
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._line.close()
        if self._holds and self.at:
            self._machine.zombie(on=False)

    def wait(self, timeout_seconds: float) -> datetime:
        """The first one."""
        until(lambda: self.at, f"{self._machine.name} to be reset", timeout_seconds, 0.1)
        return self.at[0]

    def _listen(self) -> None:
        with self._line.makefile("r") as lines:
            for line in lines:
                told = json.loads(line)
                if told.get("event") == "RESET" and told["data"]["guest"]:
                    stamp = told["timestamp"]
                    if self._holds:
                        self._machine.zombie(on=True)
                    self.at.append(datetime.fromtimestamp(stamp["seconds"] + stamp["microseconds"] / 1e6, UTC))
