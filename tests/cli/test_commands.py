"""`holdfast` as a shell sees it: real commands, a real API. Output for people, JSON for programs, exit codes."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from app.adapters.sim.store import MemoryStore
from app.adapters.system.clock import SystemClock
from app.cli.main import main
from app.domain.records import OutboxMessage, WebhookEndpoint
from app.ports.billing import DeliveryResult
from app.services.deliver_outbox import deliver_due
from tests.api.live import IMAGE, PLAN, LiveApi

REFUSED, USAGE, UNREACHABLE = 1, 2, 3


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApi]:
    with LiveApi(MemoryStore()) as api:
        yield api


class Shell:
    """Runs commands with one token: in this process, for a process of their own costs a second each."""

    def __init__(self, live: LiveApi, token: str) -> None:
        self._environment = {"HOLDFAST_API": live.url, "HOLDFAST_TOKEN": token, "COLUMNS": "200"}

    def run(self, *words: str, code: int = 0) -> str:
        """Its stdout, or its stderr where a failure is expected."""
        done = CliRunner().invoke(main, list(words), env=self._environment)
        assert done.exit_code == code, done.output + repr(done.exception)
        return done.stderr if code else done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))


@pytest.fixture
def customer(live: LiveApi) -> Shell:
    return Shell(live, live.tokens.project)


@pytest.fixture
def operator(live: LiveApi) -> Shell:
    return Shell(live, live.tokens.admin)


def test_a_vm_from_creation_to_deletion(customer: Shell) -> None:
    made = customer.run("vm", "create", "web", "--plan", PLAN, "--image", IMAGE, "--label", "env=prod", "--wait")
    assert "web: running" in made
    assert "│ web" in customer.run("vm", "list", "-l", "env=prod")
    assert customer.json("vm", "show", "web")["labels"] == {"env": "prod"}
    assert "stop_server: success" in customer.run("vm", "stop", "web", "--wait")
    assert customer.json("vm", "start", "web", "--wait")["status"] == "success"
    assert "delete_server: success" in customer.run("vm", "delete", "web", "--wait")
    assert customer.json("vm", "list") == []


def test_what_is_refused_is_one_line_that_says_why(customer: Shell, operator: Shell) -> None:
    for words, said in (
        (("vm", "create", "x", "--plan", "huge", "--image", IMAGE), "there is no server type 'huge'"),
        (("vm", "create", "-x", "--plan", PLAN, "--image", IMAGE, "--no-start"), ""),
        (("vm", "show", "nobody"), "there is no VM 'nobody'"),
        (("vm", "show", "4711"), "4711"),
        (("node", "list"), "this is for operators"),
    ):
        code = USAGE if words[2:3] == ("-x",) else REFUSED
        error = customer.run(*words, code=code)
        assert said in error
    error = operator.run("node", "show", "n9", code=REFUSED)
    assert len(error.splitlines()) == 1
    assert "n9" in error


def test_an_api_that_is_not_there(customer: Shell) -> None:
    error = customer.run("vm", "list", "--api", "http://127.0.0.1:1", code=UNREACHABLE)
    assert "does not answer" in error
    customer.run("vm", "list", "--api", "gopher://x", code=USAGE)
    customer.run("vm", "list", "--token", "ü", code=USAGE)


def test_the_operators_view(operator: Shell, customer: Shell) -> None:
    customer.run("vm", "create", "seen", "--plan", PLAN, "--image", IMAGE, "--wait")
    assert [n["name"] for n in operator.json("node", "list")] == ["n1", "n2", "n3"]
    assert any(v["name"] == "seen" for v in operator.json("vm", "list", "--all"))
    assert "takes no new VMs" in operator.run("node", "cordon", "n2")
    assert operator.json("node", "show", "n2")["maintenance"] is True
    assert "takes VMs again" in operator.run("node", "uncordon", "n2")
    assert operator.json("incident", "list") == []
    operator.run("incident", "show", "1", code=REFUSED)
    assert operator.json("node", "paths", "n1") == []
    assert any(e["kind"] == "vm.placed" for e in operator.json("event", "list"))


def test_a_plan_is_offered(operator: Shell, customer: Shell) -> None:
    operator.run("plan", "add", "tiny", "--cores", "1", "--memory-mib", "64", "--disk-gib", "10")
    assert any(p["name"] == "tiny" for p in operator.json("plan", "list"))
    assert customer.json("vm", "create", "t", "--plan", "tiny", "--image", IMAGE, "--no-start")["server"]["name"] == "t"
    again = ("plan", "add", "tiny", "--cores", "1", "--memory-mib", "64", "--disk-gib", "10")
    assert "exists already" in operator.run(*again, code=REFUSED)


def test_a_token_lives_and_ends(operator: Shell, live: LiveApi) -> None:
    made = operator.json("token", "create", "ci", "--scope", "read", "--for", "shop", "--days", "1")
    reader = Shell(live, made["text"])
    reader.run("vm", "list")
    assert "may only read" in reader.run("vm", "create", "x", "--plan", PLAN, "--image", IMAGE, code=REFUSED)
    operator.run("token", "revoke", str(made["token"]["id"]))
    assert "unknown, revoked or expired" in reader.run("vm", "list", code=REFUSED)


def test_every_command_explains_itself(operator: Shell) -> None:
    said = operator.run("--help")
    for group in ("vm", "node", "incident", "event", "image", "token", "lab", "simulate", "api", "agent"):
        assert group in said
        assert "Usage" in operator.run(group, "--help")


def test_the_program_itself_starts_without_the_daemons_parts(live: LiveApi) -> None:
    """A command is typed often: it must not wait for libraries that only the daemons need."""
    look = "import sys, app.cli.main; print(sorted({'sqlalchemy', 'fastapi', 'libvirt', 'alembic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    words = ["vm", "show", "nobody", "--api", live.url, "--token", live.tokens.project]
    refused = subprocess.run(
        [sys.executable, "-m", "app.cli.main", *words], capture_output=True, text=True, check=False
    )
    assert refused.returncode == REFUSED
    assert refused.stderr == "holdfast: there is no VM 'nobody' in this project\n"


@pytest.mark.parametrize("module", ["app.bootstrap.api", "app.bootstrap.cluster"])
def test_only_an_agent_loads_libvirt(module: str) -> None:
    """Its binding and the agent's other parts are a tenth of the start of an API."""
    look = f"import sys, {module}; print(sorted({{'libvirt', 'lxml'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_audit_log_in_pages(operator: Shell) -> None:
    for number in range(3):
        operator.run("token", "create", f"audited-{number}", "--scope", "metrics")
    newest = operator.json("audit", "list", "--limit", "2")
    assert [row["path"] for row in newest] == ["/admin/v1/tokens"] * 2
    older = operator.json("audit", "list", "--limit", "2", "--page", "2")
    assert max(row["id"] for row in older) < min(row["id"] for row in newest)
    (shown,) = operator.json("audit", "list", "--correlation-id", newest[0]["correlation_id"])
    assert shown["details"]["scope"] == "metrics"
    assert "POST /admin/v1/tokens" in operator.run("audit", "list", "--limit", "1")
    assert "hf_" not in operator.run("audit", "list", "--limit", "50"), "no token's text is written down"


class Post:
    """Delivers to everybody but one."""

    def deliver(self, message: OutboxMessage, endpoint: WebhookEndpoint, at_unix: int) -> DeliveryResult:
        refused = "broken" in endpoint.url
        return DeliveryResult(not refused, "550 no such user" if refused else "")


def test_operators_say_who_is_told_and_try_it(live: LiveApi, operator: Shell) -> None:
    assert "nobody to tell" in operator.run("notify", "test", code=REFUSED)
    assert "is told of node.failed" in operator.run("notify", "add", "mailto:ops@example.org")
    assert "mailto: and one address" in operator.run("notify", "add", "ops@example.org", code=REFUSED)
    assert operator.json("notify", "add", "mailto:broken@example.org", "--event", "vm.unplaced")["webhook"][
        "events"
    ] == ["vm.unplaced"]
    hook = operator.run("notify", "add", "https://hook.example/", "--all")
    assert "everything" in hook
    assert "whsec_" in hook
    listed = operator.run("notify", "list")
    assert "mailto:ops@example.org" in listed
    assert "whsec_" not in listed
    rows = operator.json("notify", "list")
    stop = threading.Event()

    def deliver() -> None:
        while not stop.wait(0.05):
            deliver_due(live.store, Post(), SystemClock(), (0.0, 300.0))

    coordinator = threading.Thread(target=deliver)
    coordinator.start()
    try:
        said = operator.run("notify", "test", code=REFUSED)
        assert said == "holdfast: not delivered to mailto:broken@example.org\n"
        assert "delivered" in operator.run("notify", "test", str(rows[0]["id"]))
    finally:
        stop.set()
        coordinator.join()
    for row in rows:
        operator.run("notify", "remove", str(row["id"]))
    assert operator.json("notify", "list") == []


def test_a_test_that_nobody_carries_is_said(operator: Shell) -> None:
    made = operator.json("notify", "add", "mailto:ops@example.org")["webhook"]["id"]
    operator.run("notify", "test", str(made), "--timeout", "1", code=REFUSED)
    operator.run("notify", "remove", str(made))
