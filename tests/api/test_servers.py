"""What a customer does with servers, and what the tools read of it."""

from tests.api.conftest import Api, error_of


def test_a_server_is_created_comes_up_and_ends_its_actions(api: Api) -> None:
    answer = api.create("web", labels={"env": "prod"})
    server, action = answer["server"], answer["action"]
    assert (server["name"], server["status"], server["labels"]) == ("web", "initializing", {"env": "prod"})
    assert (action["command"], action["status"]) == ("create_server", "running")
    assert [a["command"] for a in answer["next_actions"]] == ["start_server"]
    assert api.signals == [server["id"]]
    api.look()
    assert api.call("GET", f"/v1/servers/{server['id']}").json()["server"]["status"] == "running"
    for one in (action, *answer["next_actions"]):
        shown = api.call("GET", f"/v1/actions/{one['id']}").json()["action"]
        assert (shown["status"], shown["progress"], shown["error"]) == ("success", 100, None)
        assert shown["finished"].endswith("+00:00")
        assert shown["resources"] == [{"id": server["id"], "type": "server"}]


def test_a_server_that_is_not_to_be_started_has_no_node(api: Api) -> None:
    answer = api.create("later", start_after_create=False)
    assert answer["server"]["status"] == "off"
    assert answer["next_actions"] == []
    assert api.call("GET", "/admin/v1/vms").json()["vms"][0]["node"] is None


def test_power_actions_in_their_order(api: Api) -> None:
    path = f"/v1/servers/{api.create()['server']['id']}"
    api.look()
    for command, name, after in (
        ("reset", "reset_server", "running"),
        ("reboot", "reboot_server", "running"),
        ("poweroff", "stop_server", "off"),
        ("poweron", "start_server", "running"),
        ("shutdown", "shutdown_server", "off"),
    ):
        answer = api.call("POST", f"{path}/actions/{command}")
        assert answer.status_code == 201, answer.text
        action = answer.json()["action"]
        assert (action["command"], action["status"]) == (name, "running")
        api.look()
        assert api.call("GET", f"{path}/actions/{action['id']}").json()["action"]["status"] == "success"
        assert api.call("GET", path).json()["server"]["status"] == after


def test_a_deleted_server_is_gone_when_its_disk_is(api: Api) -> None:
    path = f"/v1/servers/{api.create()['server']['id']}"
    api.look()
    action = api.call("DELETE", path).json()["action"]
    assert (action["command"], action["status"]) == ("delete_server", "running")
    assert api.call("GET", path).json()["server"]["status"] == "deleting"
    again = api.call("DELETE", path).json()["action"]
    assert again["id"] == action["id"], "said twice it is done once"
    api.look()
    error_of(api.call("GET", path), 404, "not_found")
    assert api.call("GET", f"/v1/actions/{action['id']}").json()["action"]["status"] == "success"
    api.create("web")


def test_name_and_labels_can_be_changed(api: Api) -> None:
    path = f"/v1/servers/{api.create('old', labels={'a': '1'})['server']['id']}"
    changed = api.call("PUT", path, {"name": "new"}).json()["server"]
    assert (changed["name"], changed["labels"]) == ("new", {"a": "1"})
    changed = api.call("PUT", path, {"labels": {"b": ""}}).json()["server"]
    assert (changed["name"], changed["labels"]) == ("new", {"b": ""})


def test_a_repeated_request_has_one_effect(api: Api) -> None:
    body = {"name": "web", "server_type": "small", "image": "debian-12"}
    key = {"Idempotency-Key": "order-17"}
    first, again = (api.call("POST", "/v1/servers", body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert api.call("GET", "/v1/servers").json()["meta"]["pagination"]["total_entries"] == 1
    other = api.call("POST", "/v1/servers", {**body, "name": "mail"}, headers=key)
    error_of(other, 422, "invalid_input")
    theirs = api.call("POST", "/v1/servers", body, token=api.tokens.other, headers=key)
    assert theirs.status_code == 201, "a key is a project's own"
    assert "Idempotency-Replayed" not in theirs.headers


def test_lists_are_paged_filtered_and_sorted(api: Api) -> None:
    for i in range(5):
        api.create(f"web{i}", labels={"n": str(i), "env": "prod" if i < 2 else "test"}, start_after_create=False)
    first = api.call("GET", "/v1/servers?per_page=2&sort=name:desc")
    assert [s["name"] for s in first.json()["servers"]] == ["web4", "web3"]
    assert first.json()["meta"]["pagination"] == {
        "page": 1, "per_page": 2, "previous_page": None, "next_page": 2, "last_page": 3, "total_entries": 5,
    }  # fmt: skip
    assert 'rel="next"' in first.headers["Link"]

    def names(query: str) -> list[str]:
        return [s["name"] for s in api.call("GET", f"/v1/servers?{query}").json()["servers"]]

    assert names("per_page=2&page=3") == ["web4"]
    assert names("page=9") == []
    assert names("name=web3") == ["web3"]
    assert names("label_selector=env=prod") == ["web0", "web1"]
    assert names("label_selector=env!=prod,n!=3") == ["web2", "web4"]
    assert names("label_selector=env in (prod),!x") == ["web0", "web1"]
    assert names("status=off") == [f"web{i}" for i in range(5)]
    assert names("status=running") == []


def test_the_catalogue_has_what_servers_are_made_of(api: Api) -> None:
    types = api.call("GET", "/v1/server_types?name=small").json()["server_types"]
    assert [(t["name"], t["memory"], t["cores"], t["disk"]) for t in types] == [("small", 1.0, 1, 10)]
    images = api.call("GET", "/v1/images").json()["images"]
    assert [(i["name"], i["os_flavor"], i["os_version"]) for i in images] == [("debian-12", "debian", "12")]
    assert len(api.call("GET", "/v1/locations").json()["locations"]) == 1
    assert len(api.call("GET", "/v1/datacenters").json()["datacenters"]) == 1
    by_id = api.call("GET", f"/v1/images/{images[0]['id']}").json()["image"]
    assert by_id == images[0]
