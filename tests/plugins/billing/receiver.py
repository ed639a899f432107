"""A real HTTP server on loopback that answers as a test tells it to, and remembers what it was sent."""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

#: a test key, in the form that Standard Webhooks asks for
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Received:
    """One request, whose signature was checked with the library that receivers use."""

    path: str
    headers: Mapping[str, str]
    event: Any


@dataclass
class Answer:
    """What the receiver says. `drip_seconds`: sends a header byte by byte, one each 50 ms, for that long."""

    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    drip_seconds: float = 0.0
    body: bytes = b""


class Receiver:
    """`answers` are given in their order, the last one for ever. Use as a context manager."""

    def __init__(self, *answers: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.errors: list[str] = []
        self._answers = list(answers) or [Answer()]
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _request_class(self._receive, self._closing))
        self._server.daemon_threads = False
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> "Receiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _receive(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        with self._lock:
            try:
                self.received.append(Received(path, headers, Webhook(SECRET).verify(body, dict(headers))))
            except Exception as error:  # noqa: BLE001
                self.errors.append(repr(error))
                return Answer(400)
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def _request_class(
    receive: Callable[[str, Mapping[str, str], bytes], Answer], closing: threading.Event
) -> type[BaseHTTPRequestHandler]:
    class Request(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = receive(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            try:
                self._answer(answer)
            except OSError:
                self.close_connection = True  # the sender had enough

        def do_GET(self) -> None:
            receive(self.path, {}, b"")

        def _answer(self, answer: Answer) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status != 204:
                self.send_header("Content-Length", str(len(answer.body)))
            if answer.drip_seconds:
                self._drip(time.monotonic() + answer.drip_seconds)
            self.end_headers()
            self.wfile.write(answer.body)

        def _drip(self, until: float) -> None:
            self.flush_headers()
            self.wfile.write(b"X-Drip: ")
            while time.monotonic() < until and not closing.is_set():
                self.wfile.write(b".")
                time.sleep(0.05)
            self.wfile.write(b"\r\n")

        def log_message(self, format: str, *args: object) -> None:
            return

    return Request
