"""`holdfast api --dev` as a process of an ordinary user, from its first line to its clean end."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.house.sources import ROOT


@dataclass(frozen=True)
class NewcomersApi:
    """A running one. `tokens`: what it wrote for its first user; `log`: what it says."""

    url: str
    tokens: dict[str, str]
    log: Path


@contextmanager
def newcomers_api(directory: Path) -> Iterator[NewcomersApi]:
    """Started with its state in that directory and ready; ended by SIGTERM, which must be clean."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    words = [sys.executable, "-m", "app.cli.main", "api", "--dev", "--dir", str(directory), "--listen", listen]
    log = directory / "log"
    with log.open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        url = f"http://{listen}"

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(f"{url}/readyz").status_code == 200
            except httpx.TransportError:
                return False

        until(ready, "an answer")
        yield NewcomersApi(url, json.loads((directory / "tokens.json").read_text()), log)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()


def until(ready: Callable[[], bool], what: str, timeout_seconds: float = 60) -> None:
    """Wait for it; an assertion fails when it does not come."""
    end = time.monotonic() + timeout_seconds
    while not ready():
        assert time.monotonic() < end, f"waited {timeout_seconds:g} s for {what}"
        time.sleep(0.1)
