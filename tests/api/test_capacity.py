"""What operators and billing are told about capacity, and what customers are told when it is kept free."""

from typing import Any

import pytest

from tests.api.conftest import Api, error_of

PATH = "/admin/v1/capacity"


def ask(api: Api, **params: Any) -> dict[str, Any]:
    answer = api.call("GET", PATH, params=params)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()["capacity"]
    return shown


def test_the_report(api: Api) -> None:
    """Three nodes of 4096 MiB, VMs of 1024 MiB."""
    for i in range(8):
        api.create(f"vm{i}")
    shown = ask(api)
    assert (shown["survivable"], shown["by_room"], shown["by_votes"], shown["proof"]) == (1, 1, 1, "exact")
    one, two = shown["levels"]
    assert (one["survivable"], one["headroom_mib"], one["stranded"]) == (True, 0, [])
    assert (two["survivable"], len(two["worst"]), len(two["stranded"])) == (False, 2, 4)
    assert all(s["reason"].startswith("no node can take it") for s in two["stranded"])
    assert ask(api, failures=1)["levels"] == [one]
    assert ask(api, racks=True)["domain"] == "rack"


def test_what_if(api: Api) -> None:
    for i in range(6):
        api.create(f"vm{i}")
    shown = ask(api, add=3, plan="small", lose=["n1"])
    assert shown["added"] == {"wanted": 3, "placed": 3}
    assert shown["by_room"] == 0
    assert (shown["loss"]["survived"], len(shown["loss"]["stranded"])) == (False, 1)
    more = ask(api, add=3, plan="small", lose=["n1"], node=["4096:8:r9"])
    assert more["loss"] == {"nodes": ["n1"], "survived": True, "exact": True, "stranded": [], "then_survivable": 0}
    assert more["by_room"] == 1
    assert ask(api, lose=["n1", "n2"])["loss"]["survived"] is False
    fits = ask(api, fits="small")["fits"]
    assert (fits["fits"], fits["fits_with_guarantee"]) == (6, 6)
    assert ask(api, fits="giant")["fits"]["fits"] == 0


def test_the_stock_of_each_plan_in_pages(api: Api) -> None:
    api.call("PATCH", "/admin/v1/settings", {"guarantee": 1})
    answer = api.call("GET", f"{PATH}/stock?per_page=1").json()
    assert answer["meta"]["pagination"]["total_entries"] == 2
    (small,) = answer["stock"]
    assert (small["plan"], small["fits"], small["fits_with_guarantee"], small["guarantee"]) == ("small", 12, 8, 1)
    assert small["why_not_more"].startswith("the guarantee would be broken: the loss of n")
    (giant,) = api.call("GET", f"{PATH}/stock?per_page=1&page=2").json()["stock"]
    assert (giant["plan"], giant["fits"], giant["fits_with_guarantee"]) == ("giant", 0, 0)
    for i in range(8):
        api.create(f"vm{i}")
    assert api.call("GET", f"{PATH}/stock").json()["stock"][0]["fits_with_guarantee"] == 0


def test_a_customer_is_told_that_room_is_kept_free_and_an_operator_why(api: Api) -> None:
    api.call("PATCH", "/admin/v1/settings", {"guarantee": 1})
    for i in range(8):
        api.create(f"vm{i}")
    body = {"name": "more", "server_type": "small", "image": "debian-12"}
    error = error_of(api.call("POST", "/v1/servers", body), 412, "resource_unavailable")
    assert "kept free" in error["message"]
    assert "n1" not in error["message"]
    (entry, *_) = api.call("GET", "/admin/v1/audit").json()["audit"]
    assert entry["details"]["message"].startswith("running more would break the guarantee of 1 node failure: the loss")
    cordon = api.call("POST", "/admin/v1/nodes/n1/maintenance", {"maintenance": True})
    assert "closing n1 would break the guarantee" in error_of(cordon, 412, "resource_unavailable")["message"]
    forced = api.call("POST", "/admin/v1/nodes/n1/maintenance", {"maintenance": True, "force": True})
    assert forced.status_code == 200
    shown = ask(api)
    assert (shown["guarantee"], shown["guarantee_kept"]) == (1, False)
    assert shown["broken"]


def test_a_guarantee_that_cannot_be_kept_is_refused(api: Api) -> None:
    error = error_of(api.call("PATCH", "/admin/v1/settings", {"guarantee": 2}), 422, "invalid_input")
    assert error["details"]["fields"][0]["name"] == "guarantee"
    assert "no quorum" in error["message"]


@pytest.mark.parametrize(
    ("params", "status", "code", "said"),
    [
        ({"lose": "n9"}, 404, "not_found", "no node 'n9'"),
        ({"add": 3}, 422, "invalid_input", "which plan"),
        ({"add": 3, "plan": "none"}, 404, "not_found", "no plan 'none'"),
        ({"fits": "none"}, 404, "not_found", "no plan 'none'"),
        ({"node": "lots"}, 422, "invalid_input", "MEMORY_MIB:CORES"),
        ({"node": "0:4"}, 422, "invalid_input", "MEMORY_MIB:CORES"),
        ({"add": -1}, 422, "invalid_input", "greater than or equal to 0"),
        ({"failures": 0}, 422, "invalid_input", "greater than or equal to 1"),
    ],
)
def test_a_question_that_makes_no_sense(api: Api, params: dict[str, Any], status: int, code: str, said: str) -> None:
    assert said in error_of(api.call("GET", PATH, params=params), status, code)["message"]


def test_only_operators_ask(api: Api) -> None:
    error_of(api.call("GET", PATH, token=api.tokens.project), 403, "forbidden")
    error_of(api.call("GET", f"{PATH}/stock", token=api.tokens.project), 403, "forbidden")
