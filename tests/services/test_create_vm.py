"""A new VM is checked, placed and written in one transaction, or nothing is."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.errors import InvalidInput, NameTaken, NoCapacity, QuotaExceeded
from app.domain.records import ActionStatus, Project
from app.domain.vm import Desired, PowerSeen, Status, status_of
from app.ports.store import Transaction
from app.services.create_vm import USER_DATA_MAX_BYTES
from app.services.refusals import NotAdmitted
from tests.domain.make import node, spare, witness
from tests.services.make_cloud import Cloud


def test_it_is_placed_with_generation_one_and_its_node_is_touched() -> None:
    cloud = Cloud()
    created = cloud.create()
    vm = cloud.vm(created.vm.id)
    assert (vm.node, vm.generation, vm.desired, vm.pool) == ("n1", 1, Desired.RUNNING, "shared")
    assert status_of(vm) is Status.INITIALIZING
    assert (cloud.node("n1").placements, cloud.node("n2").placements) == (1, 0)
    assert cloud.actions(ActionStatus.RUNNING) == ["create_server", "start_server"]


def test_the_reason_for_the_place_is_written_down() -> None:
    cloud = Cloud()
    cloud.create()
    (event,) = cloud.run(lambda tx: tx.events.where(kind="vm.placed"))
    assert event.node == "n1"
    assert "fewest VMs" in event.text
    assert "n2: has 0 VMs" in event.text


def test_vms_spread_over_the_nodes() -> None:
    cloud = Cloud()
    assert [cloud.create(f"web-{i}").vm.node for i in range(4)] == ["n1", "n2", "n1", "n2"]


def test_a_vm_that_is_not_started_is_promised_nothing_until_it_is() -> None:
    cloud = Cloud()
    created = cloud.create(start=False)
    assert (created.vm.node, created.vm.generation, status_of(created.vm)) == (None, 0, Status.OFF)
    assert created.action.status is ActionStatus.SUCCESS
    assert cloud.node("n1").placements == 0


def test_a_full_cluster_says_why_for_each_node_and_writes_nothing() -> None:
    cloud = Cloud(node("n1", memory_mib=1024), node("n2", maintenance=True), spare("n3"), witness("n4"))
    cloud.create()
    with pytest.raises(NoCapacity) as refused:
        cloud.create("second")
    for why in ("n1: has 0 MiB of memory free", "n2: is in maintenance", "n3: is a spare", "n4: is a witness"):
        assert why in str(refused.value)
    assert cloud.actions() == ["create_server", "start_server"]
    assert cloud.node("n1").placements == 1


def test_the_memory_of_a_vm_that_is_off_is_free() -> None:
    cloud = Cloud(node("n1", memory_mib=1024))
    cloud.create()
    cloud.change(desired=Desired.STOPPED)
    cloud.see(PowerSeen.OFF)
    assert cloud.create("second").vm.node == "n1"


@pytest.mark.parametrize(
    "name",
    ["", "-web", "web-", "we b", "web_1", "web..de", ".web", "web.", "wéb", "w" * 64, "a." * 127 + "aa", "web\n"],
)
def test_a_name_that_is_no_hostname_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Cloud().create(name)
    assert refused.value.field == "name"


@pytest.mark.parametrize("name", ["w", "3com", "web-1", "web.shop.example", "w" * 63, "WEB"])
def test_a_hostname_is_taken(name: str) -> None:
    assert Cloud().create(name).vm.name == name


def test_a_name_is_unique_in_its_project_only() -> None:
    cloud = Cloud()
    cloud.create()
    with pytest.raises(NameTaken, match="exists in this project already"):
        cloud.create()
    cloud.change(project_id=2)
    cloud.create()


def test_a_name_of_a_vm_that_is_still_being_deleted_says_so() -> None:
    cloud = Cloud()
    cloud.create()
    cloud.change(desired=Desired.DELETED)
    with pytest.raises(NameTaken, match="still being deleted"):
        cloud.create()


@pytest.mark.parametrize(
    ("field", "order"),
    [
        ("server_type", {"plan": "gigantic"}),
        ("server_type", {"plan": 99}),
        ("server_type", {"plan": "9" * 40}),
        ("image", {"image": "plan9"}),
        ("image", {"image": 99}),
        ("user_data", {"user_data": "ü" * (USER_DATA_MAX_BYTES // 2 + 1)}),
        ("labels", {"labels": {"hetzner.cloud/x": "1"}}),
        ("labels", {"labels": {"-bad": "1"}}),
        ("labels", {"labels": {"good": "no spaces"}}),
        ("labels", {"labels": {"k" * 64: "1"}}),
        ("labels", {"labels": {f"k{i}": "" for i in range(65)}}),
    ],
)
def test_what_cannot_be_used_is_named(field: str, order: dict[str, Any]) -> None:
    cloud = Cloud()
    with pytest.raises(InvalidInput) as refused:
        cloud.create(**order)
    assert refused.value.field == field
    assert cloud.run(lambda tx: tx.vms.where()) == []


def test_plan_and_image_can_be_named_by_id() -> None:
    created = Cloud().create(plan=1, image="1")
    assert (created.vm.plan, created.vm.image) == ("small", "debian")


def test_an_image_that_needs_more_than_the_plan_has_is_refused() -> None:
    cloud = Cloud()

    def grow(tx: Transaction) -> None:
        (image,) = tx.images.where()
        tx.images.save(replace(image, memory_min_mib=2048))

    cloud.run(grow)
    with pytest.raises(InvalidInput, match="needs 2048 MiB"):
        cloud.create()
    assert cloud.create(plan="large").vm.memory_mib == 3072


def test_the_project_has_a_limit() -> None:
    cloud = Cloud()
    cloud.run(lambda tx: tx.projects.save(Project(1, "shop", vms_max=1)))
    cloud.create()
    with pytest.raises(QuotaExceeded, match="may have 1 servers"):
        cloud.create("second")


def test_a_plugin_can_vote_against_it_in_its_own_words() -> None:
    cloud, asked = Cloud(), []

    def yes(**facts: object) -> None:
        asked.append(facts)

    def no(**_: object) -> str:
        return "the credit is used up"

    cloud.create(votes=(yes,))
    assert asked == [{"project_id": 1, "plan": "small", "image": "debian", "memory_mib": 1024}]
    with pytest.raises(NotAdmitted, match="the credit is used up"):
        cloud.create("second", votes=(yes, no))


def test_a_conflict_at_commit_makes_one_vm() -> None:
    cloud = Cloud()
    cloud.store.conflicts = 3
    cloud.create()
    assert len(cloud.run(lambda tx: tx.vms.where())) == 1
    assert cloud.node("n1").placements == 1
