"""Placement groups, rules, tags, the checker and the explanation, over HTTP."""

from typing import Any

from tests.api.conftest import Api, error_of


def _group(api: Api, name: str = "g", **more: Any) -> dict[str, Any]:
    answer = api.call("POST", "/v1/placement_groups", {"name": name, "type": "spread", **more})
    assert answer.status_code == 201, answer.text
    assert answer.json()["action"] is None
    shown: dict[str, Any] = answer.json()["placement_group"]
    return shown


def test_a_group_is_made_listed_changed_and_removed(api: Api) -> None:
    group = _group(api, labels={"env": "prod"})
    assert set(group) == {"id", "name", "labels", "type", "created", "servers"}
    path = f"/v1/placement_groups/{group['id']}"
    assert api.call("GET", path).json()["placement_group"] == group
    listed = api.call("GET", "/v1/placement_groups?label_selector=env=prod&type=spread").json()
    assert [g["id"] for g in listed["placement_groups"]] == [group["id"]]
    assert listed["meta"]["pagination"]["total_entries"] == 1
    error_of(api.call("POST", "/v1/placement_groups", {"name": "g", "type": "spread"}), 409, "uniqueness_error")
    error_of(api.call("POST", "/v1/placement_groups", {"name": "x", "type": "magic"}), 422, "invalid_input")
    assert api.call("PUT", path, {"name": "h"}).json()["placement_group"]["name"] == "h"
    error_of(api.call("GET", path, token=api.tokens.other), 404, "not_found")
    assert api.call("DELETE", path).status_code == 204
    error_of(api.call("GET", path), 404, "not_found")


def test_servers_of_a_group_are_on_different_nodes_and_one_too_many_is_refused(api: Api) -> None:
    group = _group(api)["id"]
    made = [api.create(f"web-{i}", placement_group=group)["server"] for i in (1, 2, 3)]
    assert made[0]["placement_group"]["id"] == group
    nodes = {api.call("GET", f"/admin/v1/vms/{s['id']}").json()["vm"]["node"] for s in made}
    assert len(nodes) == 3
    body = {"name": "web-4", "server_type": "small", "image": "debian-12", "placement_group": group}
    error = error_of(api.call("POST", "/v1/servers", body), 422, "invalid_input")
    assert "it has 4 VMs, there are 3 nodes" in error["message"]
    error_of(api.call("POST", "/v1/servers", {**body, "placement_group": 999}), 422, "invalid_input")


def test_a_server_enters_a_group_when_it_is_off_and_leaves_it(api: Api) -> None:
    group = _group(api)["id"]
    server = api.create("web")["server"]["id"]
    enter = f"/v1/servers/{server}/actions/add_to_placement_group"
    leave = f"/v1/servers/{server}/actions/remove_from_placement_group"
    error_of(api.call("POST", enter, {"placement_group": group}), 422, "unsupported_error")
    api.call("POST", f"/v1/servers/{server}/actions/poweroff")
    done = api.call("POST", enter, {"placement_group": group})
    assert (done.status_code, done.json()["action"]["status"]) == (201, "success")
    assert api.call("GET", f"/v1/placement_groups/{group}").json()["placement_group"]["servers"] == [server]
    error_of(api.call("POST", enter, {"placement_group": group}), 422, "unsupported_error")
    assert api.call("POST", leave).status_code == 201
    error_of(api.call("POST", leave), 422, "unsupported_error")


def test_an_operator_sets_rules_and_contradictions_are_refused(api: Api) -> None:
    server = api.create("web")["server"]["id"]
    path = f"/admin/v1/vms/{server}"
    error = error_of(api.call("PATCH", path, {"needs": {"tags": ["ssd"]}}), 422, "invalid_input")
    assert "which no node has" in error["message"]
    assert api.call("PUT", "/admin/v1/nodes/n2/tags", {"tags": ["ssd"]}).json()["node"]["tags"] == ["ssd"]
    rules = {"needs": {"tags": ["ssd"]}, "ha": {"ha_class": "best-effort", "failback": True}, "priority": 70}
    vm = api.call("PATCH", path, rules).json()["vm"]
    assert (vm["needs"]["tags"], vm["ha"]["ha_class"], vm["priority"]) == (["ssd"], "best-effort", 70)
    error_of(api.call("PATCH", path, {"ha": {"ha_class": "gold"}}), 422, "invalid_input")
    error_of(api.call("PATCH", path, {"ha": {"waits_for": [server]}}), 422, "invalid_input")
    error_of(api.call("PATCH", path, {"needs": {"colour": "red"}}), 422, "invalid_input")
    error_of(api.call("PATCH", "/admin/v1/vms/999", rules), 404, "not_found")
    error_of(api.call("PATCH", path, rules, token=api.tokens.project), 403, "forbidden")


def test_a_vm_explains_itself(api: Api) -> None:
    server = api.create("web")["server"]["id"]
    told = api.call("GET", f"/admin/v1/vms/{server}/explain").json()["explain"]
    assert "goes to n1: fewest VMs" in told["why"]
    assert [n["node"] for n in told["nodes"] if n["here"]] == ["n1"]
    assert len(told["nodes"]) == 3
    assert all(n["why"] for n in told["nodes"])
    error_of(api.call("GET", "/admin/v1/vms/999/explain"), 404, "not_found")


def test_the_check_names_rules_that_have_come_to_contradict_the_cluster(api: Api) -> None:
    server = api.create("web")["server"]["id"]
    api.call("PUT", "/admin/v1/nodes/n2/tags", {"tags": ["ssd"]})
    api.call("PATCH", f"/admin/v1/vms/{server}", {"needs": {"tags": ["ssd"]}})
    assert api.call("GET", "/admin/v1/placement/problems").json()["problems"] == []
    api.call("PUT", "/admin/v1/nodes/n2/tags", {"tags": []})
    (problem,) = api.call("GET", "/admin/v1/placement/problems").json()["problems"]
    assert (problem["kind"], problem["vms"]) == ("tag", [server])


def test_operators_make_groups_of_every_kind(api: Api) -> None:
    body = {"project_id": 1, "name": "pair", "kind": "together", "domain": "rack"}
    made = api.call("POST", "/admin/v1/placement/groups", body)
    assert made.status_code == 201, made.text
    assert made.json()["group"]["kind"] == "together"
    error_of(api.call("POST", "/admin/v1/placement/groups", {**body, "kind": "apart"}), 422, "invalid_input")
    error_of(api.call("POST", "/admin/v1/placement/groups", {**body, "project_id": 99}), 404, "not_found")
    assert len(api.call("GET", "/admin/v1/placement/groups").json()["groups"]) == 1
    assert api.call("DELETE", f"/admin/v1/placement/groups/{made.json()['group']['id']}").status_code == 204
