"""`/metrics` for Prometheus: the cluster by the state, this node by its agent's file, this process by its own counts.

It asks for a token with the scope `metrics` (or an operator's). A database that is gone is a fact to be scraped, not an
error: the answer is then `holdfast_up 0`, to a token that was good before with all that this node knows by itself.
"""

import hashlib
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from app.api.call import bearer
from app.api.deps import AGENT_FRESH_SECONDS, ApiDeps
from app.domain.cluster import ClusterView
from app.domain.errors import DomainError
from app.domain.records import Token
from app.ports.store import StoreUnavailable, Transaction
from app.services.authenticate import authenticate, require_scraper
from app.services.load_view import load_view
from app.services.measure_capacity import measure_capacity
from app.services.measure_cluster import measure_cluster, one
from app.services.measure_recoveries import RecoveryTimes

log = structlog.get_logger(__name__)
router = APIRouter(tags=["probes"])

#: the proof of capacity may take a second in a large and tight cluster, so it is not made for every scrape
CAPACITY_SECONDS = 60.0
#: a request that no route took: its path is the client's text and no label
UNKNOWN_ROUTE = "unknown"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ApiMetrics:
    """What this process counts, and what it keeps between scrapes. Thread-safe."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "holdfast_http_requests",
            "Number of requests to this API by route, method and HTTP status",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "holdfast_http_request_duration_seconds",
            "Time to answer a request, in seconds",
            ("route", "method"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._version = version
        self._lock = threading.Lock()
        self._recoveries = RecoveryTimes()
        self._capacity: list[Metric] = []
        self._capacity_at = float("-inf")
        self._good: dict[str, datetime | None] = {}

    def count(self, route: str, method: str, status: int, seconds: float) -> None:
        """One request was answered."""
        shown = method if method in _METHODS else "other"
        self._requests.labels(route, shown, str(status)).inc()
        self._seconds.labels(route, shown).observe(seconds)

    def scrape(self, deps: ApiDeps, text: str) -> bytes:
        """The whole answer. Refusals (Unauthorized, Forbidden) pass; what else goes wrong is `holdfast_up 0`."""
        try:
            families, view = deps.store.run(lambda tx: self._read(tx, deps, text))
        except StoreUnavailable as error:
            log.warning("a scrape without the database", error=str(error))
            return self._without_database(deps, text)
        except DomainError:
            raise
        except Exception:
            log.exception("a scrape failed")
            return self._without_database(deps, text)
        return _text([*self._start(1), *families, *self._capacity_of(deps, view)], self.registry, deps)

    def _read(self, tx: Transaction, deps: ApiDeps, text: str) -> tuple[list[Metric], ClusterView]:
        now = deps.clock.utc()
        token = authenticate(tx, text, now, writes=False)
        require_scraper(token)
        with self._lock:
            self._remember(text, token)
            recoveries = self._recoveries.measure(tx)
        view = load_view(tx, now)
        return [*measure_cluster(tx, view, now), *recoveries], view

    def _remember(self, text: str, token: Token) -> None:
        self._good = {_sha256(text): token.expires} | dict(list(self._good.items())[:15])

    def _without_database(self, deps: ApiDeps, text: str) -> bytes:
        with self._lock:
            known = _sha256(text) in self._good
            expires = self._good.get(_sha256(text))
        if not known or (expires is not None and expires <= deps.clock.utc()):
            return generate_latest(_registry([one(*_UP, 0)]))
        return _text(self._start(0), self.registry, deps)

    def _start(self, up: int) -> list[Metric]:
        build = GaugeMetricFamily("holdfast_build_info", "1; the version is the label", labels=("version",))
        build.add_metric((self._version,), 1)
        return [one(*_UP, up), build]

    def _capacity_of(self, deps: ApiDeps, view: ClusterView) -> list[Metric]:
        with self._lock:
            now = deps.clock.monotonic()
            if now - self._capacity_at >= CAPACITY_SECONDS:
                self._capacity, self._capacity_at = measure_capacity(view), now
            return self._capacity


_UP = ("holdfast_up", "1 if the database answered this scrape")


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _registry(families: Iterable[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Families(families))
    return registry


def _text(families: Iterable[Metric], own: CollectorRegistry, deps: ApiDeps) -> bytes:
    """The agent's file is told as it stands while it is fresh; of an old one only its age."""
    said = deps.agent_metrics()
    fresh = said is not None and said.age_seconds < AGENT_FRESH_SECONDS
    agent = [one("holdfast_agent_up", "1 if this node's agent wrote its metrics in the last minute", fresh)]
    if said is not None:
        agent.append(
            one("holdfast_agent_metrics_age_seconds", "Age of the agent's metrics, in seconds", said.age_seconds)
        )
    text = generate_latest(_registry([*families, *agent, _certificates(deps), *_counted(own)]))
    return text + said.text if fresh and said is not None else text


def _certificates(deps: ApiDeps) -> Metric:
    says = "When this node's certificate ends, in seconds since the epoch"
    family = GaugeMetricFamily("holdfast_certificate_expiry_timestamp_seconds", says, labels=("certificate",))
    for name, ends in deps.certificates().items():
        family.add_metric((name,), ends)
    return family


def _counted(own: CollectorRegistry) -> Iterator[Metric]:
    """Without the time at which each series began: it would be a series more for each."""
    for family in own.collect():
        family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        yield family


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """In Prometheus' text format 0.0.4."""
    kept: ApiMetrics = request.app.state.metrics
    body = kept.scrape(request.app.state.deps, bearer(request))
    return Response(body, media_type=CONTENT_TYPE_PLAIN_0_0_4)
