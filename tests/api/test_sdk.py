"""The customers' own tools: the Python SDK of the API that ours is compatible with; only the endpoint differs."""

from collections.abc import Iterator

import pytest
from hcloud import APIException, Client
from hcloud.images import Image
from hcloud.server_types import ServerType

from app.adapters.sim.store import MemoryStore
from tests.api.live import IMAGE, PLAN, LiveApi


@pytest.fixture
def live() -> Iterator[LiveApi]:
    with LiveApi(MemoryStore()) as api:
        yield api


@pytest.fixture
def client(live: LiveApi) -> Client:
    return Client(token=live.tokens.project, api_endpoint=f"{live.url}/v1", poll_interval=0.05)


def test_the_life_of_a_server(client: Client) -> None:
    created = client.servers.create("web", ServerType(name=PLAN), Image(name=IMAGE), labels={"env": "prod"})
    created.action.wait_until_finished()
    for action in created.next_actions:
        action.wait_until_finished()
    server = client.servers.get_by_name("web")
    assert server is not None
    assert server.id is not None
    assert server.status == "running"
    assert server.server_type is not None
    assert server.server_type.memory == 1.0
    client.servers.power_off(server).wait_until_finished()
    assert client.servers.get_by_id(server.id).status == "off"
    client.servers.power_on(server).wait_until_finished()
    client.servers.reset(server).wait_until_finished()
    assert client.servers.update(server, name="www", labels={"env": "test"}).name == "www"
    assert [s.name for s in client.servers.get_all(label_selector="env=test")] == ["www"]
    client.servers.delete(client.servers.get_by_id(server.id)).wait_until_finished()
    assert client.servers.get_all() == []


def test_its_lists_follow_our_pages(client: Client) -> None:
    for i in range(8):
        client.servers.create(f"web{i}", ServerType(name=PLAN), Image(name=IMAGE), start_after_create=False)
    assert len(client.servers.get_all()) == 8
    assert [t.name for t in client.server_types.get_all()][:1] == [PLAN]
    assert [i.name for i in client.images.get_all()] == [IMAGE]
    assert len(client.locations.get_all()) == 1


def test_it_understands_our_refusals(client: Client, live: LiveApi) -> None:
    with pytest.raises(APIException) as refused:
        client.servers.create("web", ServerType(name="huge"), Image(name=IMAGE))
    assert refused.value.code == "invalid_input"
    with pytest.raises(APIException) as gone:
        client.servers.get_by_id(4711)
    assert gone.value.code == "not_found"
    with pytest.raises(APIException) as stranger:
        Client(token="nobody", api_endpoint=f"{live.url}/v1").servers.get_all()
    assert stranger.value.code == "unauthorized"
