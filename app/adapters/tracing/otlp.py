"""Spans to an OpenTelemetry collector, by OTLP over HTTP.

A request is answered by one process, and what it asks for is done later by the agents of other nodes. They share no
context but the correlation id that the request left with the VM. So the trace's id is made of that: every process
comes to the same one, and to the same decision about sampling. A correlation id that looks like a trace's id is one.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.ports.tracing import Attributes, Span

#: a collector that does not answer is given up for this batch after so long
EXPORT_SECONDS = 5.0
#: what is left at the end of a process is tried for so long
CLOSE_MILLISECONDS = 2000

_TRACE_ID = re.compile("[0-9a-f]{32}")
_trace_id: ContextVar[int] = ContextVar("trace_id", default=0)


class _Ids(RandomIdGenerator):
    """A trace without a parent has the id that its correlation id gives."""

    def generate_trace_id(self) -> int:
        return _trace_id.get() or super().generate_trace_id()


def trace_id_of(correlation_id: str) -> int:
    """128 bits, never 0. A random one for work that no request asked for."""
    if not correlation_id:
        return secrets.randbits(128) or 1
    if _TRACE_ID.fullmatch(correlation_id):
        return int(correlation_id, 16) or 1
    return int.from_bytes(hashlib.sha256(correlation_id.encode()).digest()[:16]) or 1


class _Told:
    """The port's span on OpenTelemetry's."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def tell(self, name: str, attributes: Attributes) -> None:
        """See `Span.tell`."""
        self._span.update_name(name)
        self._span.set_attributes(dict(attributes))

    def failed(self, why: str) -> None:
        """See `Span.failed`."""
        self._span.set_status(Status(StatusCode.ERROR, why))


class OtlpTracer:
    """The port. `endpoint`: URL of the collector's OTLP/HTTP receiver for traces; `share`: of the traces, 0 to 1."""

    def __init__(
        self, endpoint: str, headers: Mapping[str, str], share: float, *, service: str, version: str, node: str
    ) -> None:
        resource = Resource.create(
            {"service.name": service, "service.version": version, "service.instance.id": node, "host.name": node}
        )
        self._provider = TracerProvider(
            resource=resource, id_generator=_Ids(), sampler=TraceIdRatioBased(share),
            shutdown_on_exit=False,
        )  # fmt: skip
        exporter = OTLPSpanExporter(endpoint=endpoint, headers=dict(headers), timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("holdfast", version)

    def span(
        self, name: str, correlation_id: str, attributes: Attributes, *, caller: str = ""
    ) -> AbstractContextManager[Span]:
        """See `Tracer.span`. In the caller's trace its span is the parent; to another trace there is a link."""
        return self._span(name, correlation_id, attributes, caller)

    @contextmanager
    def _span(self, name: str, correlation_id: str, attributes: Attributes, caller: str) -> Iterator[Span]:
        known = {"holdfast.correlation_id": correlation_id} if correlation_id else {}
        trace_id, asked_by = trace_id_of(correlation_id), _context_of(caller)
        ours = asked_by is not None and asked_by.trace_id == trace_id
        parent = trace.NonRecordingSpan(asked_by) if asked_by is not None and ours else trace.INVALID_SPAN
        links = [trace.Link(asked_by)] if asked_by is not None and not ours else []
        given = _trace_id.set(trace_id)
        try:
            span = self._tracer.start_span(
                name, trace.set_span_in_context(parent), SpanKind.SERVER if caller else SpanKind.INTERNAL,
                {**known, **attributes}, links,
            )  # fmt: skip
        finally:
            _trace_id.reset(given)
        with trace.use_span(span, end_on_exit=True):
            yield _Told(span)

    def close(self) -> None:
        """Send what is left, if it is taken quickly."""
        self._provider.force_flush(CLOSE_MILLISECONDS)


def _context_of(caller: str) -> SpanContext | None:
    found = trace.get_current_span(TraceContextTextMapPropagator().extract({"traceparent": caller})).get_span_context()
    return found if caller and found.is_valid else None
