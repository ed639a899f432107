"""`/metrics`: what it says, to whom, and what it says when the database is gone."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest

from app.adapters.sim.store import MemoryStore
from app.api import AgentMetrics
from app.ports.store import StoreUnavailable, Transaction
from tests.api.conftest import Api, error_of
from tests.api.full_scrape import SECRET, closed_incident, families_of, populate, scrape, value

T = TypeVar("T")


@pytest.fixture
def full(api: Api) -> Api:
    populate(api)
    return api


class GoneStore:
    """A database that does not answer any more."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def run(self, work: Callable[[Transaction], T]) -> T:
        raise self._error


def _metrics_token(api: Api) -> str:
    made = api.call("POST", "/admin/v1/tokens", {"name": "prometheus", "scope": "metrics"})
    assert made.status_code == 201, made.text
    return str(made.json()["text"])


def test_every_metric_is_named_and_explained_as_prometheus_wants(full: Api) -> None:
    """https://prometheus.io/docs/practices/naming/: a prefix, base units, the unit last, `_total` for counters."""
    families = families_of(scrape(full))
    assert len(families) > 50
    for name, family in families.items():
        assert re.fullmatch(r"(holdfast|libvirt)_[a-z_]+", name), name
        assert len(family.documentation) > 10, name
        for unit in ("seconds", "bytes"):
            if unit in name.split("_"):
                assert name.endswith(f"_{unit}"), f"{name}: the unit comes last"
                assert unit in family.documentation, f"{name}: HELP does not say its unit"
        if not name.endswith(("_seconds", "_bytes")):
            said = family.documentation
            assert re.match(r"1\b|Number of ", said) or name == "holdfast_coordinator_epoch", f"{name}: of what unit?"
        assert not name.endswith(("_ms", "_percent", "_mib", "_count")), name
        for sample in family.samples:
            assert sample.name.endswith("_total") or family.type != "counter", sample.name


def test_it_tells_the_state_of_the_cluster(full: Api) -> None:
    text = scrape(full)
    assert value(text, "holdfast_up") == 1
    assert value(text, "holdfast_nodes", role="compute", state="online") == 3
    assert value(text, "holdfast_node_state", node="n2", state="online") == 1
    assert value(text, "holdfast_node_state", node="n2", state="fenced") == 0
    assert value(text, "holdfast_node_condition", node="n2", condition="isolated") == 0
    assert value(text, "holdfast_node_memory_bytes", node="n1") == 4096 * 2**20
    assert value(text, "holdfast_node_memory_promised_bytes", node="n1") == 1024 * 2**20
    assert value(text, "holdfast_vms", status="running") == 1
    assert value(text, "holdfast_vms", status="unplaced") == 0
    assert value(text, "holdfast_vm_info", vm="web", domain="hf-1") == 1
    assert value(text, "holdfast_incidents_open", phase="fencing") == 1
    assert value(text, "holdfast_incident_open_oldest_age_seconds") == 90
    assert value(text, "holdfast_coordinator", node="n1") == 1
    assert value(text, "holdfast_coordinator_age_seconds") == 300
    assert value(text, "holdfast_disarmed") == 1
    assert value(text, "holdfast_disarmed_seconds") == 7200
    assert value(text, "holdfast_fence_check_failing", node="n1", checked_from="n3") == 1
    assert value(text, "holdfast_fence_check_age_seconds", node="n1", checked_from="n2") == 30
    assert value(text, "holdfast_storage_path_active", path="eth") == 1
    assert value(text, "holdfast_storage_path_up", path="ib") == 0
    assert value(text, "holdfast_storage_path_latency_seconds", path="eth") == 0.0005
    assert value(text, "holdfast_guarantee_failures") == 0
    assert value(text, "holdfast_guarantee_kept") == 1
    assert value(text, "holdfast_capacity_survivable_failures") == 1


def test_deliveries_that_wait_fail_and_were_given_up(full: Api) -> None:
    text = scrape(full)
    assert value(text, "holdfast_outbox_pending") == 2
    assert value(text, "holdfast_outbox_failing") == 2
    assert value(text, "holdfast_outbox_given_up") == 1
    assert value(text, "holdfast_outbox_oldest_age_seconds") == 180
    assert value(text, "holdfast_outbox_overdue_seconds") == 20


def test_recoveries_are_counted_once_by_step(full: Api) -> None:
    scrape(full)
    full.store.run(lambda tx: tx.incidents.add(closed_incident(full.clock.now, (12, 13, 100))))
    text = scrape(full)
    assert scrape(full).count("holdfast_recovery_step_seconds_bucket") == text.count(
        "holdfast_recovery_step_seconds_bucket"
    )
    assert value(text, "holdfast_recovery_step_seconds_count", step="fence") == 2
    assert value(text, "holdfast_recovery_step_seconds_sum", step="fence") == 3 + 12
    assert value(text, "holdfast_recovery_step_seconds_sum", step="start") == 5 + 87
    assert value(text, "holdfast_recovery_step_seconds_bucket", step="total", le="10") == 1
    assert value(text, "holdfast_recovery_step_seconds_bucket", step="total", le="120") == 2


def test_more_old_incidents_than_a_page_are_all_counted(api: Api) -> None:
    lost = api.clock.now - timedelta(days=1)

    def fill(tx: Transaction) -> None:
        for number in range(120):
            tx.incidents.add(closed_incident(lost + timedelta(minutes=number), (3, 4, 9)))

    api.store.run(fill)
    assert value(scrape(api), "holdfast_recovery_step_seconds_count", step="total") == 120


def test_requests_are_counted_by_route_never_by_what_the_client_wrote(full: Api) -> None:
    full.call("GET", "/v1/servers/1")
    full.call("GET", "/v1/servers/77")
    full.call("GET", "/v1/no-such-thing/with-a-secret-in-it")
    full.call("BREW", "/v1/servers")
    text = scrape(full)
    route = "/v1/servers/{server_id}"
    assert value(text, "holdfast_http_requests_total", route=route, method="GET", status="200") == 1
    assert value(text, "holdfast_http_requests_total", route=route, method="GET", status="404") == 1
    assert value(text, "holdfast_http_requests_total", route="unknown", method="GET", status="404") == 1
    assert value(text, "holdfast_http_requests_total", method="other", status="405") == 1
    assert value(text, "holdfast_http_request_duration_seconds_count", route=route, method="GET") == 2
    assert "with-a-secret-in-it" not in text
    assert "BREW" not in text


def test_no_secret_is_in_any_label(full: Api) -> None:
    scraper = _metrics_token(full)
    text = scrape(full, scraper)
    for secret in (SECRET, "whsec_", "user.example", scraper, full.tokens.admin, full.tokens.project, "hf_"):
        assert secret not in text


def test_it_asks_for_a_token_of_its_own_scope(full: Api) -> None:
    scraper = _metrics_token(full)
    scrape(full, scraper)
    error_of(full.call("GET", "/metrics", token=""), 401, "unauthorized")
    error_of(full.call("GET", "/metrics", token="hf_wrong"), 401, "unauthorized")
    error_of(full.call("GET", "/metrics", token=full.tokens.project), 403, "forbidden")
    error_of(full.call("GET", "/metrics", token=full.tokens.reader), 403, "forbidden")
    error_of(full.call("GET", "/v1/servers", token=scraper), 403, "forbidden")
    error_of(full.call("GET", "/admin/v1/nodes", token=scraper), 403, "forbidden")
    assert full.call("POST", "/v1/servers", {}, token=scraper).status_code in (401, 403)
    refused = full.call("POST", "/admin/v1/tokens", {"name": "x", "scope": "metrics", "project": "shop"})
    error_of(refused, 422, "invalid_input")


def _break(api: Api, error: Exception) -> None:
    """The same process, whose database goes away."""
    object.__setattr__(api.deps, "store", GoneStore(error))


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), KeyError("the epoch row is missing")])
def test_a_database_that_is_gone_is_a_fact_and_no_error(full: Api, error: Exception) -> None:
    scraper = _metrics_token(full)
    scrape(full, scraper)
    _break(full, error)
    text = scrape(full, scraper)
    assert value(text, "holdfast_up") == 0
    assert value(text, "holdfast_watchdog_margin_seconds") == 6, "what this node knows by itself is still told"
    assert value(text, "holdfast_http_requests_total", route="/v1/servers", method="GET", status="200") == 1
    assert "holdfast_nodes" not in text
    stranger = scrape(full, "hf_never_seen")
    assert set(families_of(stranger)) == {"holdfast_up"}
    assert value(stranger, "holdfast_up") == 0
    full.clock.pass_seconds(3600)
    assert value(scrape(full, scraper), "holdfast_up") == 0


def test_a_token_that_has_expired_meanwhile_is_told_nothing_more() -> None:
    api = Api(MemoryStore())
    expires = (api.clock.now + timedelta(minutes=5)).isoformat()
    made = api.call("POST", "/admin/v1/tokens", {"name": "p", "scope": "metrics", "expires": expires}).json()["text"]
    scrape(api, made)
    _break(api, StoreUnavailable("gone"))
    assert len(families_of(scrape(api, made))) > 1
    api.clock.pass_seconds(301)
    assert set(families_of(scrape(api, made))) == {"holdfast_up"}


def test_an_agent_that_writes_no_more_is_told_by_its_age_alone(full: Api) -> None:
    assert value(scrape(full), "holdfast_agent_up") == 1
    full.reopen(agent_metrics=lambda: AgentMetrics(b"libvirt_up 1\n", 61.0))
    text = scrape(full)
    assert value(text, "holdfast_agent_up") == 0
    assert value(text, "holdfast_agent_metrics_age_seconds") == 61
    assert "libvirt_up" not in text
    full.reopen(agent_metrics=lambda: None)
    assert value(scrape(full), "holdfast_agent_up") == 0


def test_the_probes_say_what_balancers_want(full: Api) -> None:
    assert full.call("GET", "/healthz").json()["status"] == "ok"
    assert full.call("GET", "/readyz").json() == {"status": "ok", "epoch": 1, "coordinator": "n1"}
    for error in (StoreUnavailable("gone"), KeyError("no epoch row")):
        _break(full, error)
        assert full.call("GET", "/healthz").status_code == 200
        error_of(full.call("GET", "/readyz"), 503, "unavailable")
