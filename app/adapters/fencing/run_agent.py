"""Run one fence agent once, by the contract of fence-agents, and never longer than told.

https://github.com/ClusterLabs/fence-agents/blob/main/doc/FenceAgentAPI.md: options as key=value lines on stdin,
none on the command line, where every user of the host could read the passwords.
"""

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

_SECRET_KEY = re.compile(r"passw|secret|token|key|community", re.IGNORECASE)
_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class AgentResult:
    """How one run ended. `exit_code` is None when it was killed at its time-out. Texts hold no secrets."""

    exit_code: int | None
    said: str
    complained: str

    @property
    def why(self) -> str:
        """The end of what it complained about, or else said, for an error of ours."""
        ended = "no answer in time" if self.exit_code is None else f"exit {self.exit_code}"
        text = " ".join((self.complained or self.said).split())[-300:]
        return f"{ended}: {text}" if text else ended


def run_agent(command: Sequence[str], options: Mapping[str, str], timeout_seconds: float) -> AgentResult:
    """Run it in a process group of its own, which is killed at the time-out. Never raises for what an agent does."""
    text = "".join(f"{key}={value}\n" for key, value in options.items())
    # Files, not pipes: a grandchild that keeps a pipe open cannot keep us, and nothing is read that nobody wants.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            code = _run(command, text.encode(), out, err, timeout_seconds)
        except OSError as error:
            return AgentResult(127, "", f"{command[0]} cannot be run: {error.strerror}")
        return AgentResult(code, _tail(out, options), _tail(err, options))


def _run(command: Sequence[str], stdin: bytes, out: IO[bytes], err: IO[bytes], timeout_seconds: float) -> int | None:
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=err,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C"},
    ) as process:
        try:
            process.communicate(stdin, timeout=max(0.0, timeout_seconds))
            return process.returncode
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what it left running in the background


def _tail(file: IO[bytes], options: Mapping[str, str]) -> str:
    """What was written last. Whole text first, then the cut: half a password is one too."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 100 * _TAIL_BYTES))
    text = file.read().decode(errors="replace")
    for key, value in options.items():
        if value and _SECRET_KEY.search(key):
            text = text.replace(value, "***")
    return text.strip()[-_TAIL_BYTES:]
