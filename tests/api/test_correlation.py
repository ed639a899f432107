"""One word from a customer's request to what became of it."""

from app.domain.vm import Vm
from tests.api.conftest import Api

HEADER = "X-Correlation-Id"


def _vm(api: Api) -> Vm:
    (vm,) = api.store.run(lambda tx: tx.vms.where())
    return vm


def _ids(api: Api) -> dict[str, set[str]]:
    """kind -> the correlation ids of its rows."""
    return api.store.run(
        lambda tx: {
            "actions": {row.correlation_id for row in tx.actions.where()},
            "events": {row.correlation_id for row in tx.events.where(kind="vm.placed")},
            "audit": {row.correlation_id for row in tx.audit.where()},
        }
    )


def test_what_a_request_wrote_names_the_request(api: Api) -> None:
    body = {"name": "web", "server_type": "small", "image": "debian-12"}
    answer = api.call("POST", "/v1/servers", body, headers={HEADER: "shop-order-17"})
    assert answer.headers[HEADER] == "shop-order-17"
    assert _vm(api).correlation_id == "shop-order-17"
    assert _ids(api) == {kind: {"shop-order-17"} for kind in ("actions", "events", "audit")}


def test_a_later_request_is_the_cause_from_then_on_and_a_report_is_none(api: Api) -> None:
    api.create()
    first = _vm(api).correlation_id
    api.look()
    assert _vm(api).correlation_id == first, "an agent that says what it sees changes nothing of what is wanted"
    reset = api.call("POST", "/v1/servers/1/actions/reset")
    second = reset.headers[HEADER]
    assert second != first
    assert _vm(api).correlation_id == second
    assert _ids(api)["actions"] == {first, second}


def test_an_operator_sees_it_and_finds_the_request(api: Api) -> None:
    api.call("POST", "/v1/servers", {"name": "bad name", "server_type": "small", "image": "debian-12"})
    api.create()
    cause = api.call("GET", "/admin/v1/vms").json()["vms"][0]["correlation_id"]
    found = api.call("GET", f"/admin/v1/audit?correlation_id={cause}").json()
    assert found["meta"]["pagination"]["total_entries"] == 1
    assert (found["audit"][0]["path"], found["audit"][0]["status_code"]) == ("/v1/servers", 201)
    assert api.call("GET", "/admin/v1/audit?correlation_id=none").json()["audit"] == []


def test_an_id_that_could_forge_a_log_line_is_not_taken(api: Api) -> None:
    for bad in ("a b", "x" * 65, 'level="error"', "incident-17"):
        answer = api.call("GET", "/v1/servers", headers={HEADER: bad})
        assert answer.headers[HEADER] != bad
        assert len(answer.headers[HEADER]) == 16
