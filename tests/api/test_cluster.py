"""Disarming and arming, the storm guard, an operator's word, the end of a quarantine: over HTTP."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest

from app.ports.store import Transaction
from app.services.epoch import win_epoch
from app.services.incidents import open_incident, record_proof
from app.services.load_view import current_settings
from app.services.report_fence_checks import FenceAnswer, report_fence_checks
from tests.api.conftest import Api, error_of
from tests.domain.make import SEEN_OFF

CLUSTER, NODE, DEVICES = "/admin/v1/cluster", "/admin/v1/nodes/n3", "/admin/v1/fence-devices"


def _lose_n3(api: Api, then: Callable[[Transaction, int], None] = lambda _tx, _epoch: None) -> None:
    def work(tx: Transaction) -> None:
        epoch = win_epoch(tx, "n1", api.clock.now)
        open_incident(tx, epoch, "n3", 0.0, api.clock.now)
        then(tx, epoch)

    api.store.run(work)


def _disarm(api: Api, **body: Any) -> Any:
    return api.call("POST", f"{CLUSTER}/disarm", {"reason": "new switches ü", **body})


def test_disarmed_it_says_so_in_every_answer_to_an_operator_and_to_nobody_else(api: Api) -> None:
    assert "Holdfast-Disarmed" not in api.call("GET", "/admin/v1/nodes").headers
    answer = _disarm(api)
    assert answer.status_code == 200, answer.text
    shown = answer.json()["cluster"]
    assert (shown["armed"], shown["disarmed_by"], shown["disarmed_reason"]) == (False, "admin", "new switches ü")
    for path in ("/admin/v1/nodes", "/admin/v1/incidents", CLUSTER):
        said = unquote(api.call("GET", path).headers["Holdfast-Disarmed"])
        assert said.startswith("by admin since ")
        assert said.endswith(": new switches ü")
    assert "Holdfast-Disarmed" not in api.call("GET", "/v1/servers").headers
    assert api.signals[-1] is None, "the agents look at once"
    api.call("POST", f"{CLUSTER}/arm")
    assert "Holdfast-Disarmed" not in api.call("GET", "/admin/v1/nodes").headers


def test_both_are_audited_and_told_and_said_twice_they_are_done_once(api: Api) -> None:
    for _ in range(2):
        _disarm(api)
    api.call("POST", f"{CLUSTER}/arm")
    api.call("POST", f"{CLUSTER}/arm")
    kinds = [e["kind"] for e in api.call("GET", "/admin/v1/events").json()["events"]]
    assert kinds[:2] == ["cluster.armed", "cluster.disarmed"]
    assert kinds.count("cluster.disarmed") == kinds.count("cluster.armed") == 1
    audited = {e["path"]: e["details"] for e in api.call("GET", "/admin/v1/audit").json()["audit"]}
    assert audited[f"{CLUSTER}/disarm"]["reason"] == "new switches ü"


def test_the_first_reason_stays(api: Api) -> None:
    _disarm(api)
    assert _disarm(api, reason="me too").json()["cluster"]["disarmed_reason"] == "new switches ü"


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": 5}, {"reason": "x" * 1001}])
def test_nothing_is_disarmed_without_a_reason(api: Api, body: dict[str, Any]) -> None:
    error_of(api.call("POST", f"{CLUSTER}/disarm", body), 422, "invalid_input")
    assert api.store.run(current_settings).armed


def test_customers_go_on_while_it_is_disarmed(api: Api) -> None:
    _disarm(api)
    server = api.create()["server"]["id"]
    assert api.call("POST", f"/v1/servers/{server}/actions/poweroff").status_code == 201


@pytest.mark.parametrize("path", ["disarm", "arm", "storm-guard"])
def test_only_operators_may(api: Api, path: str) -> None:
    body = {"disarm": {"reason": "x"}, "arm": {}, "storm-guard": {"lifted_seconds": 5}}[path]
    error_of(api.call("POST", f"{CLUSTER}/{path}", body, token=api.tokens.project), 403, "forbidden")


def test_the_storm_guard_is_lifted_for_a_time_and_put_back(api: Api) -> None:
    lifted = api.call("POST", f"{CLUSTER}/storm-guard", {"lifted_seconds": 600}).json()["cluster"]
    assert lifted["storm_lifted_until"] == (api.clock.now + timedelta(seconds=600)).isoformat()
    back = api.call("POST", f"{CLUSTER}/storm-guard", {"lifted_seconds": 0}).json()["cluster"]
    assert back["storm_lifted_until"] is None
    error_of(api.call("POST", f"{CLUSTER}/storm-guard", {"lifted_seconds": -1}), 422, "invalid_input")


# -- an operator's word


def test_a_lost_node_is_confirmed_dead_and_it_is_kept_who_said_so_and_why(api: Api) -> None:
    _lose_n3(api)
    answer = api.call("POST", f"{NODE}/confirm-dead", {"reason": "I pulled its plug"})
    assert answer.status_code == 200, answer.text
    (incident,) = api.call("GET", "/admin/v1/incidents").json()["incidents"]
    steps = api.call("GET", f"/admin/v1/incidents/{incident['id']}").json()["incident"]["steps"]
    assert [s["detail"] for s in steps if s["what"] == "confirmed-dead"] == ["admin: I pulled its plug"]
    (entry,) = api.call("GET", "/admin/v1/audit").json()["audit"]
    assert entry["details"] == {"node": "n3", "reason": "I pulled its plug"}


def test_a_member_is_not_dead(api: Api) -> None:
    _lose_n3(api)
    api.reopen(members=lambda: frozenset({"n1", "n3"}))
    error = error_of(api.call("POST", f"{NODE}/confirm-dead", {"reason": "I think so"}), 409, "conflict")
    assert "is a member of the cluster right now" in error["message"]


def test_who_is_online_or_proven_or_unknown_is_not_confirmed(api: Api) -> None:
    error = error_of(api.call("POST", f"{NODE}/confirm-dead", {"reason": "x"}), 409, "conflict")
    assert "n3 is online" in error["message"]
    error_of(api.call("POST", "/admin/v1/nodes/n9/confirm-dead", {"reason": "x"}), 404, "not_found")
    _lose_n3(api, lambda tx, epoch: record_proof(tx, epoch, "n3", SEEN_OFF, api.clock.now))
    error = error_of(api.call("POST", f"{NODE}/confirm-dead", {"reason": "x"}), 409, "conflict")
    assert "proven dead already, by power" in error["message"]


def test_a_word_without_a_reason_is_refused(api: Api) -> None:
    _lose_n3(api)
    for body in ({}, {"reason": " "}):
        error_of(api.call("POST", f"{NODE}/confirm-dead", body), 422, "invalid_input")


# -- quarantine


def test_a_quarantined_node_is_shown_takes_nothing_and_is_released(api: Api) -> None:
    until = api.clock.now + timedelta(hours=2)

    def keep_out(tx: Transaction) -> None:
        for node in tx.nodes.where():
            tx.nodes.save(replace(node, quarantined_until=until, losses=(api.clock.now,) * 3))

    api.store.run(keep_out)
    shown = api.call("GET", NODE).json()["node"]
    assert shown["quarantined_until"] == until.isoformat()
    assert len(shown["losses"]) == 3
    body = {"name": "web", "server_type": "small", "image": "debian-12"}
    error = error_of(api.call("POST", "/v1/servers", body), 412, "resource_unavailable")
    assert "quarantined" not in error["message"], "customers do not hear of our nodes"
    assert api.call("POST", f"{NODE}/release").json()["node"]["quarantined_until"] is None
    assert api.create()["server"]["name"] == "web"
    (event,) = api.call("GET", "/admin/v1/events?kind=node.released").json()["events"]
    assert "released by admin" in event["text"]


# -- fence devices


def _check_fences(api: Api, me: str, **works: bool) -> None:
    answers = [FenceAnswer(node, "power", works=ok, said="on" if ok else "login refused") for node, ok in works.items()]
    api.store.run(lambda tx: report_fence_checks(tx, me, answers, 900.0, api.clock.now))


def test_fence_devices_are_listed_page_by_page(api: Api) -> None:
    _check_fences(api, "n1", n2=True, n3=False)
    _check_fences(api, "n2", n3=True)
    first = api.call("GET", f"{DEVICES}?per_page=2").json()
    assert [(d["node"], d["checked_from"]) for d in first["fence_devices"]] == [("n2", "n1"), ("n3", "n1")]
    assert first["meta"]["pagination"]["total_entries"] == 3
    (last,) = api.call("GET", f"{DEVICES}?per_page=2&page=2").json()["fence_devices"]
    assert (last["node"], last["method"], last["checked_from"], last["works"]) == ("n3", "power", "n2", True)
    assert last["checked_at"].endswith("+00:00")


def test_fence_devices_are_filtered(api: Api) -> None:
    _check_fences(api, "n1", n2=True, n3=False)
    (broken,) = api.call("GET", f"{DEVICES}?works=false").json()["fence_devices"]
    assert (broken["node"], broken["said"]) == ("n3", "login refused")
    assert [d["node"] for d in api.call("GET", f"{DEVICES}?node=n2").json()["fence_devices"]] == ["n2"]
    for odd in ("works=perhaps", "sort=password", "page=0"):
        error_of(api.call("GET", f"{DEVICES}?{odd}"), 422, "invalid_input")
