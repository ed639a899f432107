"""/admin/v1: nodes, incidents, tokens, projects, the catalogue, webhooks, records."""

import pytest

from tests.api.conftest import Api, error_of


def test_nodes_with_what_they_carry(api: Api) -> None:
    for i in range(4):
        api.create(f"web{i}")
    nodes = api.call("GET", "/admin/v1/nodes").json()["nodes"]
    assert [(n["name"], n["vms"], n["memory_used_mib"]) for n in nodes] == [
        ("n1", 2, 2048), ("n2", 1, 1024), ("n3", 1, 1024),
    ]  # fmt: skip
    assert nodes[0]["state"] == "online"
    one = api.call("GET", "/admin/v1/nodes/n1").json()["node"]
    assert one == nodes[0]
    error_of(api.call("GET", "/admin/v1/nodes/n9"), 404, "not_found")
    page = api.call("GET", "/admin/v1/nodes?per_page=2&page=2").json()
    assert [n["name"] for n in page["nodes"]] == ["n3"]


def test_a_node_in_maintenance_gets_no_new_vms(api: Api) -> None:
    for node in ("n1", "n2"):
        answer = api.call("POST", f"/admin/v1/nodes/{node}/maintenance", {"maintenance": True})
        assert answer.json()["node"]["maintenance"] is True
    for i in range(3):
        api.create(f"web{i}")
    assert {v["node"] for v in api.call("GET", "/admin/v1/vms").json()["vms"]} == {"n3"}
    error_of(api.call("POST", "/admin/v1/nodes/n1/maintenance", {"maintenance": "yes"}), 422, "invalid_input")
    error_of(api.call("POST", "/admin/v1/nodes/n9/maintenance", {"maintenance": True}), 404, "not_found")


def test_a_token_is_shown_once_and_works_until_it_is_revoked(api: Api) -> None:
    project = api.call("GET", "/admin/v1/projects").json()["projects"][0]["id"]
    made = api.call("POST", "/admin/v1/tokens", {"name": "ci", "scope": "write", "project": project})
    assert made.status_code == 201, made.text
    text = next(v for v in _texts(made.json()) if v.startswith("hf_"))
    assert api.call("GET", "/v1/servers", token=text).status_code == 200
    listed = api.call("GET", "/admin/v1/tokens")
    assert text not in listed.text
    token_id = next(t["id"] for t in listed.json()["tokens"] if t["name"] == "ci")
    assert api.call("DELETE", f"/admin/v1/tokens/{token_id}").status_code in (200, 204)
    error_of(api.call("GET", "/v1/servers", token=text), 401, "unauthorized")


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [t for v in value.values() for t in _texts(v)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "x", "scope": "root"},
        {"name": "x", "scope": "write"},
        {"name": "x", "scope": "admin", "project": 1},
        {"name": "x", "scope": "write", "project": 99},
    ],
)
def test_tokens_that_make_no_sense(api: Api, body: dict[str, object]) -> None:
    answer = api.call("POST", "/admin/v1/tokens", body)
    assert answer.status_code in (404, 422), answer.text
    assert len(answer.json()["error"]["message"]) > 10


def test_plans_and_images_are_offered_once(api: Api) -> None:
    plan = {"name": "big", "cores": 8, "memory_mib": 4096, "disk_gib": 100}
    assert api.call("POST", "/admin/v1/plans", plan).status_code == 201
    error_of(api.call("POST", "/admin/v1/plans", plan), 409, "uniqueness_error")
    for change in ({"cores": 0}, {"memory_mib": 1}, {"disk_gib": 10**9}, {"name": "9lives"}, {"price": 1}):
        error_of(api.call("POST", "/admin/v1/plans", {**plan, **change}), 422, "invalid_input")
    image = {"name": "alpine", "pool": "shared", "path": "alpine.qcow2", "disk_gib": 1}
    assert api.call("POST", "/admin/v1/images", image).status_code == 201
    error_of(api.call("POST", "/admin/v1/images", image), 409, "uniqueness_error")
    error_of(api.call("POST", "/admin/v1/images", {**image, "name": "b", "cmdline": "x"}), 422, "invalid_input")


def test_incidents_that_are_not_there(api: Api) -> None:
    assert api.call("GET", "/admin/v1/incidents").json()["incidents"] == []
    error_of(api.call("GET", "/admin/v1/incidents/7"), 404, "not_found")
    error_of(api.call("GET", "/admin/v1/incidents?phase=odd"), 422, "invalid_input")


def test_webhook_targets_in_private_ranges_are_the_operators_choice_only(api: Api) -> None:
    body = {"url": "http://198.51.100.7/hook", "events": ["vm.started"]}
    made = api.call("POST", "/admin/v1/webhooks", body)
    assert made.status_code == 201, made.text
    assert any(t.startswith("whsec_") for t in _texts(made.json())), "the secret, once"
    assert "whsec_" not in api.call("GET", "/admin/v1/webhooks").text
    for url in ("ftp://x/", "not a url", "http://"):
        error_of(api.call("POST", "/admin/v1/webhooks", {**body, "url": url}), 422, "invalid_input")


def test_a_placement_says_why(api: Api) -> None:
    api.create("web")
    events = api.call("GET", "/admin/v1/events?kind=vm.placed").json()["events"]
    assert "web goes to n1: " in events[0]["text"]
    assert "n2: " in events[0]["text"]
