"""Drains and migrations, as operators ask for them: API and commands."""

import json
from collections.abc import Iterator

import pytest
import structlog
from typer.testing import CliRunner, Result

from app.adapters.sim.store import MemoryStore
from app.cli.main import main
from app.domain.migration import MoveEnd
from app.domain.moves import plan_moves
from app.domain.vm import Vm
from app.ports.store import Transaction
from app.services.begin_migration import commit_moves
from app.services.finish_migration import end_migration, note_migration
from app.services.load_view import load_view
from tests.api.conftest import Api, error_of
from tests.api.live import LiveApi


def _coordinate(api: Api) -> None:
    """What a coordinator does at one look."""
    api.store.run(lambda tx: commit_moves(tx, 0, plan_moves(load_view(tx)), api.clock.now))


def _vm(api: Api, vm_id: int) -> Vm:
    vm = api.store.run(lambda tx: tx.vms.get(vm_id))
    assert vm is not None
    return vm


def _hand_over(api: Api, vm: Vm) -> None:
    assert vm.node is not None

    def work(tx: Transaction) -> None:
        end_migration(tx, vm.node or "", vm.id, vm.migration.generation, MoveEnd.FINISHED, "", api.clock.now)

    api.store.run(work)


def test_a_drain_is_followed_to_its_end(api: Api) -> None:
    vm_id = api.create()["server"]["id"]
    api.look()
    node = _vm(api, vm_id).node
    begun = api.call("POST", f"/admin/v1/nodes/{node}/drain").json()["drain"]
    assert begun == {"node": node, "draining": True, "done": False, "moving": 0, "waiting": 1, "stuck": 0}
    _coordinate(api)
    moving = _vm(api, vm_id)
    assert moving.migrating_to not in (None, node)
    api.store.run(lambda tx: note_migration(tx, str(node), vm_id, moving.migration.generation, 40))
    (row,) = api.call("GET", f"/admin/v1/nodes/{node}/drain/vms").json()["vms"]
    assert row == {
        "vm_id": vm_id, "name": "web", "state": "moving", "to": moving.migrating_to, "progress": 40, "reason": "",
    }  # fmt: skip
    _hand_over(api, moving)
    done = api.call("GET", f"/admin/v1/nodes/{node}/drain").json()["drain"]
    assert (done["done"], done["moving"], done["waiting"]) == (True, 0, 0)
    shown = api.call("GET", f"/admin/v1/vms/{vm_id}").json()["vm"]
    assert (shown["node"], shown["generation"], shown["migrating_to"]) == (moving.migrating_to, 2, None)
    back = api.call("POST", f"/admin/v1/nodes/{node}/return").json()["drain"]
    assert back["draining"] is False
    assert api.call("GET", f"/admin/v1/nodes/{node}").json()["node"]["maintenance"] is False


def test_a_drain_that_is_taken_back_cancels_what_is_on_its_way(api: Api) -> None:
    vm_id = api.create()["server"]["id"]
    api.look()
    node = _vm(api, vm_id).node
    api.call("POST", f"/admin/v1/nodes/{node}/drain")
    _coordinate(api)
    api.call("POST", f"/admin/v1/nodes/{node}/return")
    assert _vm(api, vm_id).migration.cancel == "the drain was taken back"


def test_a_vm_that_finds_no_node_is_named_with_the_reason(api: Api) -> None:
    ids = [api.create(f"web{i}")["server"]["id"] for i in range(3)]
    api.look()
    nodes = {_vm(api, i).node for i in ids}
    assert len(nodes) == 3
    for node in sorted(str(n) for n in nodes):
        api.call("POST", f"/admin/v1/nodes/{node}/drain")
    progress = api.call("GET", "/admin/v1/nodes/n1/drain").json()["drain"]
    assert (progress["stuck"], progress["waiting"]) == (1, 0)
    (row,) = api.call("GET", "/admin/v1/nodes/n1/drain/vms").json()["vms"]
    assert row["state"] == "stuck"
    assert "no node can take it" in row["reason"]


def test_a_migration_is_asked_for_begun_and_its_action_ends(api: Api) -> None:
    vm_id = api.create()["server"]["id"]
    api.look()
    source = _vm(api, vm_id).node
    target = next(n for n in ("n1", "n2", "n3") if n != source)
    action = api.call("POST", f"/admin/v1/vms/{vm_id}/migrate", {"to": target}).json()["action"]
    assert (action["command"], action["status"]) == ("migrate_server", "running")
    _coordinate(api)
    assert _vm(api, vm_id).migrating_to == target
    api.store.run(lambda tx: note_migration(tx, str(source), vm_id, 2, 40))
    assert api.call("GET", f"/v1/actions/{action['id']}").json()["action"]["progress"] == 40
    _hand_over(api, _vm(api, vm_id))
    assert api.call("GET", f"/v1/actions/{action['id']}").json()["action"]["status"] == "success"


def test_a_migration_is_cancelled_before_and_after_it_began(api: Api) -> None:
    vm_id = api.create()["server"]["id"]
    api.look()
    action = api.call("POST", f"/admin/v1/vms/{vm_id}/migrate", {}).json()["action"]
    assert api.call("POST", f"/admin/v1/vms/{vm_id}/cancel-migration").status_code == 200
    assert api.call("GET", f"/v1/actions/{action['id']}").json()["action"]["status"] == "error"
    error_of(api.call("POST", f"/admin/v1/vms/{vm_id}/cancel-migration"), 422, "unsupported_error")
    api.call("POST", f"/admin/v1/vms/{vm_id}/migrate", {})
    _coordinate(api)
    api.call("POST", f"/admin/v1/vms/{vm_id}/cancel-migration")
    vm = _vm(api, vm_id)
    assert vm.migration.cancel == "an operator cancelled it"
    source = str(vm.node)
    api.store.run(
        lambda tx: end_migration(tx, source, vm_id, vm.migration.generation, MoveEnd.CANCELLED, "x", api.clock.now)
    )
    kept = _vm(api, vm_id)
    assert (kept.node, kept.generation, kept.migrating_to) == (source, 1, None)
    assert kept.next_generation > vm.migration.generation


def test_what_cannot_be_is_refused_with_the_reason(api: Api) -> None:
    vm_id = api.create()["server"]["id"]
    api.look()
    here = _vm(api, vm_id).node
    error_of(api.call("POST", "/admin/v1/nodes/n9/drain"), 404, "not_found")
    error_of(api.call("GET", "/admin/v1/nodes/n9/drain"), 404, "not_found")
    error_of(api.call("POST", "/admin/v1/nodes/n1/drain", {"now": True}), 422, "invalid_input")
    error_of(api.call("POST", "/admin/v1/vms/99/migrate", {}), 404, "not_found")
    error_of(api.call("POST", f"/admin/v1/vms/{vm_id}/migrate", {"to": 5}), 422, "invalid_input")
    error_of(api.call("POST", f"/admin/v1/vms/{vm_id}/migrate", {"to": "n9"}), 422, "invalid_input")
    there = error_of(api.call("POST", f"/admin/v1/vms/{vm_id}/migrate", {"to": here}), 422, "unsupported_error")
    assert "it is there already" in there["message"]
    api.call("POST", f"/v1/servers/{vm_id}/actions/poweroff")
    api.look()
    off = error_of(api.call("POST", f"/admin/v1/vms/{vm_id}/migrate", {}), 422, "unsupported_error")
    assert "only a VM that runs can migrate" in off["message"]
    mine = api.tokens.project
    error_of(api.call("POST", "/admin/v1/nodes/n1/drain", token=mine), 403, "forbidden")


# -- the commands


@pytest.fixture
def live() -> Iterator[LiveApi]:
    with structlog.testing.capture_logs(), LiveApi(MemoryStore()) as api:
        yield api


def _holdfast(live: LiveApi, *words: str) -> Result:
    env = {"HOLDFAST_API": live.url, "HOLDFAST_TOKEN": live.tokens.admin, "COLUMNS": "200"}
    return CliRunner().invoke(main, words, env=env)


def test_an_empty_node_is_drained_at_once_and_returned(live: LiveApi) -> None:
    drained = _holdfast(live, "node", "drain", "n1", "--wait")
    assert drained.exit_code == 0, drained.output
    assert "n1 is empty: it can be switched off" in drained.output
    returned = _holdfast(live, "node", "return", "n1")
    assert returned.exit_code == 0, returned.output
    assert "n1 takes VMs again" in returned.output


def test_a_drain_with_vms_that_cannot_move_says_which_and_why(live: LiveApi) -> None:
    for name in ("n1", "n2", "n3"):
        assert _holdfast(live, "node", "drain", name).exit_code == 0
        _holdfast(live, "node", "return", name)
    mine = {"HOLDFAST_API": live.url, "HOLDFAST_TOKEN": live.tokens.project}
    made = CliRunner().invoke(
        main, ["vm", "create", "web", "--plan", "small", "--image", "debian-12", "--wait"], env=mine
    )
    assert made.exit_code == 0, made.output
    for name in ("n1", "n2", "n3"):
        _holdfast(live, "node", "drain", name)
    node = live.store.run(lambda tx: tx.vms.where(name="web"))[0].node or ""
    stuck = _holdfast(live, "node", "drain", node, "--wait", "--json")
    assert stuck.exit_code == 1, stuck.output
    shown = json.loads(stuck.stdout)
    assert (shown["stuck"], shown["vms"][0]["name"]) == (1, "web")
    table = _holdfast(live, "node", "drain", node)
    assert "why it is still there" in table.output
    _holdfast(live, "node", "return", node)
    other = next(n for n in ("n1", "n2", "n3") if n != node)
    _holdfast(live, "node", "return", other)
    asked = _holdfast(live, "vm", "migrate", "1", "--to", other)
    assert asked.exit_code == 0, asked.output
    assert "migration asked for" in asked.output
    cancelled = _holdfast(live, "vm", "migrate", "1", "--cancel")
    assert cancelled.exit_code == 0, cancelled.output
    assert _holdfast(live, "vm", "migrate", "1", "--cancel", "--to", other).exit_code == 2
