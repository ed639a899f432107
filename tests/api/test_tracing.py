"""From a customer's request to the agent's work: one trace, as a real collector's receiver gets it."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from app.adapters.tracing.otlp import OtlpTracer
from app.domain import actions as do
from app.domain.vm import StopMode
from app.engine.vm_work import vm_work
from tests.api.conftest import Api
from tests.domain.make import vm
from tests.services.test_vm_work_log import Recorder

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BODY = {"name": "web", "server_type": "small", "image": "debian-12"}


class Collector(ThreadingHTTPServer):
    """OTLP over HTTP, as https://opentelemetry.io/docs/specs/otlp/#otlphttp describes its receiver."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: dict[str, list[Span]] = {}
        self.headers: list[dict[str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1/traces"


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.headers.append({k.lower(): v for k, v in self.headers.items()})
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            told = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.server.spans.setdefault(told["service.name"], []).extend(scope.spans)
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


Make = Callable[..., OtlpTracer]


@pytest.fixture
def tracer(collector: Collector) -> Make:
    def make(service: str, share: float = 1.0, url: str = collector.url) -> OtlpTracer:
        return OtlpTracer(url, {"x-tenant": "rack"}, share, service=service, version="1", node="n1")

    return make


def _about(span: Span) -> dict[str, Any]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_request_and_what_agents_do_for_it_are_in_the_callers_trace(
    api: Api, collector: Collector, tracer: Make
) -> None:
    of_api, of_agent = tracer("holdfast-api"), tracer("holdfast-agent")
    api.reopen(tracer=of_api)
    answer = api.call("POST", "/v1/servers", BODY, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    assert answer.headers["X-Correlation-Id"] == TRACE
    (made,) = api.store.run(lambda tx: tx.vms.where())
    agent: Any = Recorder(of_agent)
    vm_work(do.StartVm(made, 1.0), agent)
    of_api.close()
    of_agent.close()
    (request,), (start,) = collector.spans["holdfast-api"], collector.spans["holdfast-agent"]
    assert {request.trace_id.hex(), start.trace_id.hex()} == {TRACE}
    assert (request.name, request.kind, request.parent_span_id.hex()) == (
        "POST /v1/servers", Span.SpanKind.SPAN_KIND_SERVER, CALLER,
    )  # fmt: skip
    assert _about(request) == {
        "holdfast.correlation_id": TRACE, "http.request.method": "POST", "url.path": "/v1/servers",
        "http.route": "/v1/servers", "http.response.status_code": 201,
    }  # fmt: skip
    assert start.name == "vm start"
    assert _about(start)["holdfast.vm.id"] == made.id
    assert request.start_time_unix_nano < request.end_time_unix_nano
    assert collector.headers[0]["x-tenant"] == "rack"


def test_a_correlation_id_of_the_callers_own_gives_the_trace_and_links_the_other(
    api: Api, collector: Collector, tracer: Make
) -> None:
    made = tracer("holdfast-api")
    api.reopen(tracer=made)
    for _ in range(2):
        api.call(
            "GET", "/v1/servers",
            headers={"X-Correlation-Id": "order-7", "traceparent": f"00-{TRACE}-{CALLER}-01"},
        )  # fmt: skip
    made.close()
    one, two = collector.spans["holdfast-api"]
    assert one.trace_id == two.trace_id
    assert one.trace_id.hex() != TRACE
    assert [link.trace_id.hex() for link in one.links] == [TRACE]
    assert not one.parent_span_id


def test_work_that_fails_says_so(collector: Collector, tracer: Make) -> None:
    made = tracer("holdfast-agent")
    agent: Any = Recorder(made)
    agent.pools = {}
    vm_work(do.StartVm(vm(1, correlation_id="incident-3"), 1.0), agent)
    vm_work(do.StopVm(1, 1, StopMode.HARD), agent)
    made.close()
    failed, stopped = collector.spans["holdfast-agent"]
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert "pool" in failed.status.message
    assert stopped.status.code != Status.STATUS_CODE_ERROR
    assert failed.trace_id != stopped.trace_id, "what nobody asked for is a trace of its own"


def test_every_process_takes_the_same_share(collector: Collector, tracer: Make) -> None:
    api, agent = tracer("holdfast-api", 0.5), tracer("holdfast-agent", 0.5)
    for number in range(64):
        for one in (api, agent):
            with one.span("work", f"order-{number}", {}):
                pass
    api.close()
    agent.close()
    kept = {service: {s.trace_id for s in spans} for service, spans in collector.spans.items()}
    assert kept["holdfast-api"] == kept["holdfast-agent"]
    assert 0 < len(kept["holdfast-api"]) < 64


def test_a_collector_that_is_gone_keeps_nothing_up(tracer: Make) -> None:
    made = tracer("holdfast-agent", url="http://127.0.0.1:9/v1/traces")
    with made.span("work", "order-1", {}):
        pass
    made.close()
