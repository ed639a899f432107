"""What the world is told: webhooks of the main job, and the storage path's way to Ethernet and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.lab import network
from tests.lab import webhook_sink
from tests.lab.story import Story

pytestmark = pytest.mark.lab
PORT = 8099
URL = f"http://{network.STORAGE_SERVICE_ADDRESS}:{PORT}/hook"


@contextmanager
def _sink(story: Story, file: Path) -> Iterator[None]:
    """The receiver, on the storage server, which all nodes reach."""
    namespace = network.Names(story.lab.name).storage
    command = [sys.executable, webhook_sink.__file__, network.STORAGE_SERVICE_ADDRESS, str(PORT), str(file)]
    process = subprocess.Popen(["ip", "netns", "exec", namespace, *command])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _requests(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _taken(file: Path, kind: str) -> bool:
    return any(r["type"] == kind and r["status"] == 204 for r in _requests(file))


def test_the_main_job_is_told_by_webhooks_each_with_one_id(story: Story, tmp_path: Path) -> None:
    """Every delivery is refused once: it comes again under the same id, and each id is taken once."""
    file = tmp_path / "requests.jsonl"
    answer = story.cloud.admin("POST", "/webhooks", json={"url": URL})
    with _sink(story, file):
        lost = story.others(story.coordinator())[-1]
        vms = story.fill(lost, len(story.placed(lost)) + 1)
        story.cloud.wait(lambda: _taken(file, "vm.started"), "vm.started delivered", 30)
        off = story.cloud.create_vm(story.new_name())
        story.steady()
        story.cloud.customer("POST", f"/servers/{off}/actions/poweroff")
        story.cloud.wait(lambda: _taken(file, "vm.stopped"), "vm.stopped delivered", 30)
        vms, last = {i: p for i, p in vms.items() if i != off}, story.last_incident()
        story.lab.kill(lost)
        story.recovered(vms, after=last)
        story.cloud.wait(lambda: _taken(file, "node.failed"), "node.failed delivered", 40)
        story.cloud.wait(lambda: _taken(file, "vm.recovered"), "vm.recovered delivered", 40)
    requests = _requests(file)
    story.cloud.admin("DELETE", f"/webhooks/{answer['webhook']['id']}")
    for request in requests:
        headers = {f"webhook-{k}": request[k] for k in ("id", "timestamp", "signature")}
        Webhook(answer["secret"]).verify(request["body"], headers)
    taken = [r["id"] for r in requests if r["status"] == 204]
    assert len(taken) == len(set(taken)), "no message is delivered twice"
    for number in taken:
        tries = [r for r in requests if r["id"] == number]
        assert [r["status"] for r in tries] == [503, 204]
        assert tries[0]["body"] == tries[1]["body"]
    story.cloud.customer("DELETE", f"/servers/{off}")
    story.prove()


def _cli(story: Story, *arguments: str) -> Any:
    environment = {
        **os.environ, "HOLDFAST_API": story.cloud.base_url, "HOLDFAST_TOKEN": story.cloud.tokens.admin,
    }  # fmt: skip
    command = [sys.executable, "-m", "app.cli.main", *arguments, "--json"]
    return json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=60).stdout
    )


def _active_path(story: Story, node: str) -> str:
    return next((p["name"] for p in _cli(story, "node", "paths", node) if p["active"]), "")


@pytest.mark.parametrize("silent", [False, True], ids=["carrier lost", "silent"])
def test_storage_goes_to_ethernet_and_back(story: Story, *, silent: bool) -> None:
    """No VM notices: the counters of the guests go on, and the switch both ways is an event."""
    vms = story.fill("n2", 1)
    story.cloud.wait(lambda: _active_path(story, "n2") == "ib0", "ib0 carrying the storage", 20)
    known = {e["id"] for e in _switches(story)}
    story.lab.cut("n2", ["ib0"], silent=silent)
    story.cloud.wait(lambda: _active_path(story, "n2") == "eth1", "the pickup by eth1", 15)
    route = story.lab.run("n2", ["ip", "route", "get", network.STORAGE_SERVICE_ADDRESS]).stdout
    assert " dev eth1 " in route
    story.lab.heal("n2", ["ib0"])
    story.cloud.wait(lambda: _active_path(story, "n2") == "ib0", "the way back to ib0", 30)
    told = [e["text"] for e in _switches(story) if e["id"] not in known]
    assert sorted(told) == sorted(
        f"n2: {network.STORAGE_SERVICE_ADDRESS} is reached through {path} now" for path in ("eth1", "ib0")
    )
    assert {i: p.generation for i, p in story.placed("n2").items()} == {i: p.generation for i, p in vms.items()}
    story.prove()


def _switches(story: Story) -> list[dict[str, Any]]:
    events = story.cloud.admin("GET", "/events", params={"per_page": 50})["events"]
    return [e for e in events if e["kind"] == "path.switched"]
