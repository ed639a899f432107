"""A cloud in which everything has happened that is measured, and what `/metrics` then says."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from app.adapters.libvirt.domain_metrics import families
from app.adapters.metrics.watchdog import MeasuredWatchdog
from app.api import AgentMetrics
from app.domain.cluster import Incident, IncidentPhase, Proof, Step
from app.domain.records import FenceCheck, NodePath, OutboxMessage, WebhookEndpoint
from app.ports.store import Transaction
from app.services.epoch import win_epoch
from app.services.load_view import current_settings
from tests.api.conftest import Api

SECRET = "whsec_never_in_a_label"
#: what libvirt 9.0 says of a domain with a disk and an interface
STATS = {
    "state.state": 1, "state.reason": 1, "cpu.time": 12_500_000_000, "balloon.current": 524288,
    "balloon.maximum": 1048576, "vcpu.current": 2, "vcpu.maximum": 2, "net.count": 1, "net.0.name": "vnet0",
    "net.0.rx.bytes": 100, "net.0.rx.pkts": 3, "net.0.rx.errs": 0, "net.0.rx.drop": 0, "net.0.tx.bytes": 200,
    "net.0.tx.pkts": 4, "net.0.tx.errs": 0, "net.0.tx.drop": 0, "block.count": 1, "block.0.name": "vda",
    "block.0.rd.reqs": 7, "block.0.rd.bytes": 4096, "block.0.rd.times": 1_500_000_000, "block.0.wr.reqs": 8,
    "block.0.wr.bytes": 8192, "block.0.wr.times": 2_000_000_000,
}  # fmt: skip


class Ticks:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Fed:
    """A watchdog of 10 s."""

    timeout_seconds: float | None = 10.0

    def feed(self) -> None:
        return

    def disarm(self) -> None:
        return


def closed_incident(lost: datetime, seconds: tuple[float, float, float]) -> Incident:
    """Fenced, planned and closed so many seconds after the loss."""
    fenced, planned, closed = (lost + timedelta(seconds=s) for s in seconds)
    steps = (Step(lost, "detected"), Step(lost, "opened"), Step(fenced, "fenced"), Step(planned, "planned"))
    return Incident(0, "n1", IncidentPhase.CLOSED, lost, closed, Proof("power", "off"), "1 VMs verified up", steps)


def as_text(families: Iterable[Metric]) -> bytes:
    class Given(Collector):
        def collect(self) -> Iterable[Metric]:
            return families

    registry = CollectorRegistry()
    registry.register(Given())
    return generate_latest(registry)


def agent_text() -> bytes:
    """What an agent writes whose watchdog was once 4 s late and that has one domain."""
    clock = Ticks()
    watchdog = MeasuredWatchdog(Fed(), clock.monotonic)
    watchdog.feed()
    clock.advance(4)
    watchdog.feed()
    return as_text([*watchdog.metrics(), *families([("hf-1", STATS), ("somebody-elses", STATS)])])


def populate(api: Api) -> None:
    """A VM, an old and an open incident, a coordinator, fence checks, paths, deliveries; automation is disarmed."""
    api.create()
    api.look()
    api.reopen(
        agent_metrics=lambda: AgentMetrics(agent_text(), 2.0), certificates=lambda: {"node": 2e9, "authority": 3e9}
    )
    now = api.clock.now

    def work(tx: Transaction) -> None:
        tx.incidents.add(closed_incident(now - timedelta(hours=1), (3, 4, 9)))
        tx.incidents.add(Incident(0, "n2", IncidentPhase.FENCING, now - timedelta(seconds=90)))
        win_epoch(tx, "n1", now - timedelta(minutes=5))
        for checker, works in (("n2", True), ("n3", False)):
            tx.fence_checks.add(FenceCheck(0, "n1", "power", checker, works, "said", now - timedelta(seconds=30), now))
        tx.paths.add(NodePath(0, "n1", "10.99.0.1", "ib", False, False, now, "no carrier"))
        tx.paths.add(NodePath(0, "n1", "10.99.0.1", "eth", True, True, now, latency_ms=0.5))
        endpoint = tx.endpoints.add(WebhookEndpoint(0, "https://user.example/path", SECRET))
        for number, attempts, next_try in ((1, 0, now), (2, 3, now - timedelta(seconds=20)), (3, 10, None)):
            created = now - timedelta(minutes=number)
            row = OutboxMessage(0, endpoint.id, f"m{number}", "vm.started", "{}", created, attempts, next_try)
            tx.outbox.add(row)
        disarmed = replace(current_settings(tx), armed=False, disarmed_by="op", disarmed_at=now - timedelta(hours=2))
        tx.settings.save(disarmed)

    api.store.run(work)
    api.call("GET", "/v1/servers")


def scrape(api: Api, token: str | None = None) -> str:
    """The text, after a look at its status and type."""
    answer = api.call("GET", "/metrics", token=token or api.tokens.admin)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


def families_of(text: str) -> dict[str, Metric]:
    """By name. The parser is the reference client's own."""
    found = list(text_string_to_metric_families(text))
    names = [family.name for family in found]
    assert len(names) == len(set(names)), "a family is told twice"
    return {family.name: family for family in found}


def value(text: str, name: str, **labels: str) -> float:
    """The one sample of that name with these labels, whatever others it has."""
    samples = [s for f in families_of(text).values() for s in f.samples if s.name == name]
    found = [s.value for s in samples if labels.items() <= s.labels.items()]
    assert len(found) == 1, (name, labels, samples)
    return float(found[0])
