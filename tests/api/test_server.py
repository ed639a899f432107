"""The server that the API runs in."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from app.api import ApiServer
from tests.api.live import wait_for


async def _app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def _date(path: Path) -> str | None:
    """What the server says of the time; None while nobody listens."""
    with socket.socket(socket.AF_UNIX) as plain:
        try:
            plain.connect(str(path))
        except OSError:
            return None
        plain.sendall(b"GET / HTTP/1.1\r\nHost: holdfast\r\nConnection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: plain.recv(4096), b"")).partition(b"\r\n\r\n")
    assert body == b"ok"
    return next(line for line in head.decode().splitlines() if line.lower().startswith("date:"))


def test_it_answers_with_the_time_until_it_is_told_to_end(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    server = ApiServer(_app, socket=str(path))
    server.start()
    wait_for(lambda: _date(path) is not None, "the server to listen")
    told = _date(path)
    wait_for(lambda: _date(path) != told, "the time to go on")
    server.stop()
    assert _date(path) is None


def test_one_that_nobody_asked_ends_too(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    server = ApiServer(_app, socket=str(path))
    server.start()
    server.stop()
    assert _date(path) is None
