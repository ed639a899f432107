"""The server that the API runs in."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from app.adapters.sim.store import MemoryStore
from app.adapters.system.clock import SystemClock
from app.api import ApiDeps, ApiServer
from app.bootstrap.api import build_servers
from app.config import ApiSection, Config
from tests.api.live import furnish, wait_for


async def _app(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def _listens(family: socket.AddressFamily, address: Any) -> bool:
    """Somebody takes connections there."""
    with socket.socket(family) as plain:
        return plain.connect_ex(address) == 0


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


def test_what_is_asked_at_the_socket_is_counted_at_the_address(tmp_path: Path) -> None:
    store = MemoryStore()
    token = furnish(store).admin
    with socket.socket() as plain:
        plain.bind(("127.0.0.1", 0))
        address = plain.getsockname()
    listen = f"{address[0]}:{address[1]}"
    path = tmp_path / "api.sock"
    servers = build_servers(
        ApiDeps(store, SystemClock(), lambda _vm: None), Config(api=ApiSection(listen=listen, socket=str(path)))
    )
    for server in servers:
        server.start()
    try:
        wait_for(lambda: _listens(socket.AF_UNIX, str(path)), "the API to listen at its socket")
        wait_for(lambda: _listens(socket.AF_INET, address), "the API to listen at its address")
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://holdfast") as local:
            for _ in range(3):
                assert local.get("/healthz").status_code == 200
        text = httpx.get(f"http://{listen}/metrics", headers={"Authorization": f"Bearer {token}"}).text
    finally:
        for server in servers:
            server.stop()
    (count,) = [line for line in text.splitlines() if "holdfast_http_requests_total{" in line and "/healthz" in line]
    assert count.endswith(" 3.0")
