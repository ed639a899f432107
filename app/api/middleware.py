"""Around every request: a correlation id, a limit for the body, one log line, and an answer even for a defect."""

import re
import secrets
import time
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import Refusal
from app.api.metrics import UNKNOWN_ROUTE
from app.ports.tracing import Span, Tracer

log = structlog.get_logger(__name__)

CORRELATION = "X-Correlation-Id"
#: route, method, status, seconds
Count = Callable[[str, str, int, float], None]
#: `incident-17` is what a recovery writes: nobody else may
_GIVEN = re.compile(r"(?!incident-)[A-Za-z0-9._:-]{1,64}")
#: W3C Trace Context: whose trace this request is part of
_TRACE_PARENT = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


class BodyTooLarge(Exception):
    """More bytes came than a request may have."""


class Envelope:
    """Plain ASGI, outermost. A correlation id that the caller sent is kept if it is short and plain; who sends the id
    of a trace instead is answered with that.
    """

    def __init__(self, app: ASGIApp, body_bytes_max: int, count: Count, tracer: Tracer) -> None:
        self._app = app
        self._count = count
        self._tracer = tracer
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, caller = Headers(scope=scope).get(CORRELATION, ""), Headers(scope=scope).get("traceparent", "")
        traced = _TRACE_PARENT.fullmatch(caller)
        other = traced[1] if traced else secrets.token_hex(8)
        correlation_id = given if _GIVEN.fullmatch(given) else other
        scope.setdefault("state", {})["correlation_id"] = correlation_id
        about = {"http.request.method": scope["method"], "url.path": scope["path"]}
        with (
            structlog.contextvars.bound_contextvars(correlation_id=correlation_id),
            self._tracer.span(scope["method"], correlation_id, about, caller=caller if traced else "") as span,
        ):
            await self._answer(scope, receive, _Sender(send, correlation_id), span)

    async def _answer(self, scope: Scope, receive: Receive, send: "_Sender", span: Span) -> None:
        began = time.monotonic()
        try:
            await self._app(scope, _limited(scope, receive, self._body_bytes_max), send)
        except BodyTooLarge:
            text = f"the body is larger than {self._body_bytes_max // 1024} KiB"
            await _reply(Refusal(413, "invalid_input", text).response(), scope, receive, send)
        except Exception:
            log.exception("a request failed", method=scope["method"], path=scope["path"])
            text = (
                f"something went wrong on our side; name the correlation id {send.correlation_id} when you ask for help"
            )
            await _reply(Refusal(500, "server_error", text).response(), scope, receive, send)
        seconds = time.monotonic() - began
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        self._count(route, scope["method"], send.status, seconds)
        span.tell(f"{scope['method']} {route}", {"http.route": route, "http.response.status_code": send.status})
        if send.status >= 500:
            span.failed(f"status {send.status}")
        milliseconds = round(seconds * 1000, 1)
        log.info("request", method=scope["method"], path=scope["path"], status=send.status, ms=milliseconds)


class _Sender:
    """Sends on, with the correlation id in the headers; knows whether an answer has begun."""

    def __init__(self, send: Send, correlation_id: str) -> None:
        self._send = send
        self.correlation_id = correlation_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[CORRELATION] = self.correlation_id
        await self._send(message)


async def _reply(response: Response, scope: Scope, receive: Receive, send: _Sender) -> None:
    if send.status == 0:
        await response(scope, receive, send)


def _limited(scope: Scope, receive: Receive, bytes_max: int) -> Receive:
    declared = Headers(scope=scope).get("content-length", "0")
    seen = 0

    async def receive_some() -> Message:
        nonlocal seen
        if declared.isdecimal() and int(declared[:20]) > bytes_max:
            raise BodyTooLarge
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > bytes_max:
            raise BodyTooLarge
        return message

    return receive_some
