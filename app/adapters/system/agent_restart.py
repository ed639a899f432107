"""What the API of a node does when the coordinator says that the agent here is silent: end it, or start it.

An agent that hangs is killed, not asked: one that stands still (SIGSTOP, a device that never answers) takes no SIGTERM,
and systemd would wait for it longer than the node's watchdog does. systemd starts it again (`Restart=always`).
One that is gone is started, which does nothing where systemd is about to. Neither touches a VM.
"""

import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from app.domain.events import SignalReceived

log = structlog.get_logger(__name__)

#: a restart is given so long before the next one
PAUSE_SECONDS = 15.0
_RUN_SECONDS_MAX = 10.0


class AgentRestart:
    """`commands`: kind of the signal -> what is run; a kind without a command is passed over."""

    def __init__(
        self, node: str, commands: Mapping[str, Sequence[str]], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._node, self._now = node, now
        self._commands = {kind: tuple(command) for kind, command in commands.items() if command}
        self._done_at = float("-inf")

    def __call__(self, signal: SignalReceived) -> None:
        """From the membership's own thread: it does not wait for what it begins."""
        command = self._commands.get(signal.kind)
        if command is None or signal.node != self._node or self._now() - self._done_at < PAUSE_SECONDS:
            return
        self._done_at = self._now()
        log.warning("the agent of this node is silent", told_by=signal.sender, kind=signal.kind, command=command[0])
        threading.Thread(target=_run, args=(command,), name="holdfast-agent-restart", daemon=True).start()


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_RUN_SECONDS_MAX)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.error("the agent cannot be started again", command=" ".join(command), error=str(error))
        return
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-500:]
        log.error("the agent cannot be started again", command=" ".join(command), code=done.returncode, said=said)
