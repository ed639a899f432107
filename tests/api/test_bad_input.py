"""What goes wrong has a status, a code and a sentence that says what to do; and nothing is lost by it."""

from dataclasses import replace
from typing import Any

import pytest

from app.adapters.sim.store import MemoryStore
from app.ports.store import Store, StoreUnavailable, Transaction
from tests.api.conftest import Api, error_of

GOOD: dict[str, Any] = {"name": "web", "server_type": "small", "image": "debian-12"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"name": 7}, "name"),
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "-web-"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"name": "x y"}, "name"),
        ({"server_type": "huge"}, "server_type"),
        ({"server_type": 99}, "server_type"),
        ({"server_type": 1.5}, "server_type"),
        ({"image": "windows-95"}, "image"),
        ({"image": -1}, "image"),
        ({"labels": {"bad key!": "x"}}, "labels"),
        ({"labels": {"a": 1}}, "labels"),
        ({"labels": {"hetzner.cloud/x": "1"}}, "labels"),
        ({"labels": ["a"]}, "labels"),
        ({"user_data": "x" * (32 * 1024 + 1)}, "user_data"),
        ({"start_after_create": "yes"}, "start_after_create"),
        ({"location": "moon"}, "location"),
        ({"location": "main", "datacenter": "main-dc1"}, "datacenter"),
        ({"ssh_keys": ["mine"]}, "ssh_keys"),
        ({"public_net": {"ipv4": 3}}, "public_net"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(api: Api, change: dict[str, Any], field: str) -> None:
    error = error_of(api.call("POST", "/v1/servers", {**GOOD, **change}), 422, "invalid_input")
    assert [f["name"] for f in error["details"]["fields"]] == [field]
    assert api.call("GET", "/v1/servers").json()["servers"] == []


def test_every_missing_field_is_named(api: Api) -> None:
    error = error_of(api.call("POST", "/v1/servers", {}), 422, "invalid_input")
    assert {f["name"]: f["messages"] for f in error["details"]["fields"]} == {
        "name": ["is missing"], "server_type": ["is missing"], "image": ["is missing"],
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"name": "web",}'])
def test_a_body_that_is_no_json(api: Api, content: bytes) -> None:
    error_of(api.call("POST", "/v1/servers", content=content), 400, "json_error")


def test_a_body_that_is_no_object_or_too_large(api: Api) -> None:
    error_of(api.call("POST", "/v1/servers", [1, 2]), 422, "invalid_input")
    error_of(api.call("POST", "/v1/servers", content=b" " * (300 * 1024)), 413, "invalid_input")


def test_a_name_that_is_taken(api: Api) -> None:
    api.create("web")
    error = error_of(api.call("POST", "/v1/servers", GOOD), 409, "uniqueness_error")
    assert error["details"] == {"fields": [{"name": "name"}]}
    other = api.create("mail")["server"]["id"]
    error_of(api.call("PUT", f"/v1/servers/{other}", {"name": "web"}), 409, "uniqueness_error")
    assert api.call("POST", "/v1/servers", GOOD, token=api.tokens.other).status_code == 201, "another project's name"


@pytest.mark.parametrize("token", ["", "hf_nobody", "Bearer", "ü", "x" * 600])
def test_a_missing_or_unknown_token(api: Api, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}".encode()}
    for method, path in (("GET", "/v1/servers"), ("POST", "/v1/servers"), ("GET", "/admin/v1/nodes")):
        answer = api.call(method, path, headers=headers)
        error_of(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_what_a_token_may_not_do(api: Api) -> None:
    server = api.create()["server"]["id"]
    error_of(api.call("POST", "/v1/servers", GOOD, token=api.tokens.reader), 401, "token_readonly")
    assert api.call("GET", "/v1/servers", token=api.tokens.reader).status_code == 200
    error_of(api.call("GET", "/admin/v1/nodes", token=api.tokens.project), 403, "forbidden")
    error_of(api.call("GET", f"/v1/servers/{server}", token=api.tokens.other), 404, "not_found")
    for verb, path in (("DELETE", ""), ("POST", "/actions/poweroff"), ("PUT", "")):
        answer = api.call(verb, f"/v1/servers/{server}{path}", {} if verb == "PUT" else None, token=api.tokens.other)
        error_of(answer, 404, "not_found")
    error_of(api.call("GET", "/v1/servers", headers={"X-Holdfast-Project": "other"}), 403, "forbidden")


@pytest.mark.parametrize("server", ["999", "0", "-1", "abc", "99999999999999999999", "1.5", "%00"])
def test_a_server_that_does_not_exist(api: Api, server: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/actions/poweron")):
        error_of(api.call(method, f"/v1/servers/{server}{path}"), 404, "not_found")


def test_an_action_that_the_state_does_not_allow(api: Api) -> None:
    server = api.create(start_after_create=False)["server"]["id"]
    for command in ("reboot", "reset", "shutdown"):
        error = error_of(api.call("POST", f"/v1/servers/{server}/actions/{command}"), 422, "unsupported_error")
        assert "is off" in error["message"]
        assert "possible when it is" in error["message"]


def test_a_suspended_server_obeys_the_operator_alone(api: Api) -> None:
    server = api.create()["server"]["id"]
    api.look()

    def lock(tx: Transaction) -> None:
        vm = tx.vms.get(server)
        assert vm is not None
        tx.vms.save(replace(vm, locked=True))

    api.store.run(lock)
    for command in ("poweron", "poweroff", "reboot", "reset", "shutdown"):
        error_of(api.call("POST", f"/v1/servers/{server}/actions/{command}"), 423, "locked")
    error_of(api.call("DELETE", f"/v1/servers/{server}"), 423, "locked")


def test_a_full_cluster(api: Api) -> None:
    error_of(api.call("POST", "/v1/servers", {**GOOD, "server_type": "giant"}), 412, "resource_unavailable")
    for i in range(12):  # three nodes of 4096 MiB, 1024 MiB each
        api.create(f"web{i}")
    error = error_of(api.call("POST", "/v1/servers", {**GOOD, "name": "one-more"}), 412, "resource_unavailable")
    assert "n1" not in error["message"], "a customer is not told the names and loads of nodes"
    audit = api.call("GET", "/admin/v1/audit").json()["audit"][0]
    assert audit["status_code"] == 412
    assert "n1: has 0 MiB of memory free" in audit["details"]["message"], "an operator is"
    api.create("off", start_after_create=False)


def test_a_full_project(api: Api) -> None:
    project = api.call("GET", "/admin/v1/projects").json()["projects"][0]
    body = {"name": project["name"], "vms_max": 1}
    assert api.call("PUT", f"/admin/v1/projects/{project['id']}", body).status_code == 200
    api.create("web")
    error = error_of(api.call("POST", "/v1/servers", {**GOOD, "name": "two"}), 403, "resource_limit_exceeded")
    assert error["details"] == {"limits": [{"name": "server_limit"}]}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=x", "page"),
        ("per_page=-1", "per_page"),
        ("sort=colour", "sort"),
        ("sort=id:up", "sort"),
        ("status=happy", "status"),
        ("label_selector=a in (", "label_selector"),
    ],
)
def test_a_query_that_cannot_be_used(api: Api, query: str, field: str) -> None:
    error = error_of(api.call("GET", f"/v1/servers?{query}"), 422, "invalid_input")
    assert [f["name"] for f in error["details"]["fields"]] == [field]


def test_paths_and_methods_that_are_not_there(api: Api) -> None:
    error_of(api.call("GET", "/v1/nothing"), 404, "not_found")
    error_of(api.call("PATCH", "/v1/servers"), 405, "method_not_allowed")
    error_of(api.call("POST", "/v1/servers/1/actions/explode"), 405, "method_not_allowed")


def test_an_idempotency_key_that_cannot_be_one(api: Api) -> None:
    for key in ("", "x" * 256):
        answer = api.call("POST", "/v1/servers", GOOD, headers={"Idempotency-Key": key})
        error_of(answer, 422, "invalid_input")


def test_a_database_that_is_gone(api: Api) -> None:
    class Gone:
        def run(self, work: Any) -> Any:
            raise StoreUnavailable("(2003, can't connect to 10.0.0.1 with password x)")

    api.reopen(store=Gone())
    for method, path in (("GET", "/v1/servers"), ("POST", "/v1/servers"), ("GET", "/readyz")):
        answer = api.call(method, path, GOOD if method == "POST" else None)
        error = error_of(answer, 503, "unavailable")
        assert answer.headers["Retry-After"]
        assert "password" not in error["message"]
    assert api.call("GET", "/healthz").status_code == 200


def test_a_defect_of_ours_is_an_answer_with_a_number_to_name(api: Api) -> None:
    class Broken(MemoryStore):
        def run(self, work: Any) -> Any:
            raise ZeroDivisionError("secret of ours")

    api.reopen(store=Broken())
    answer = api.call("GET", "/v1/servers", headers={"X-Correlation-Id": "ticket-9"})
    error = error_of(answer, 500, "server_error")
    assert "ticket-9" in error["message"]
    assert "secret" not in answer.text


def test_a_signal_that_cannot_be_sent_spoils_nothing(api: Api) -> None:
    def fail(_: int | None) -> None:
        raise OSError("no ring")

    api.reopen(signal=fail)
    api.create("web")


def test_every_write_is_audited_with_who_and_what(store: Store) -> None:
    api = Api(store)
    api.create("web")
    api.call("POST", "/v1/servers", GOOD, token=api.tokens.reader)
    api.call("POST", "/v1/servers", GOOD, headers={"X-Correlation-Id": "order-5"})
    refused, created = api.call("GET", "/admin/v1/audit").json()["audit"][:2]
    assert (refused["status_code"], refused["correlation_id"]) == (409, "order-5")
    assert (created["method"], created["path"], created["status_code"]) == ("POST", "/v1/servers", 201)
    assert created["details"]["vm"]
    assert created["at"].endswith("+00:00")
