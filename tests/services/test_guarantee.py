"""With a guarantee, requests that would break it are refused with the reason; all others go on as before."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.capacity import broken_promise
from app.domain.errors import GuaranteeBroken, InvalidInput
from app.domain.host_shutdown import ShutdownPolicy
from app.domain.layout import first_layout, with_member
from app.domain.node import Node, NodeRole, NodeState
from app.domain.policy import HaClass
from app.domain.vm import Command, PowerSeen
from app.services.change_layout import forget_member
from app.services.change_settings import change_settings
from app.services.drain_node import drain_node
from app.services.leave_node import leave_node
from app.services.load_view import current_settings, load_view
from app.services.report_observed import NodeFacts, report_observed
from app.services.set_maintenance import set_maintenance
from app.services.set_vm_rules import set_vm_rules
from tests.domain.make import WHEN, node, spare
from tests.services.make_cloud import Cloud


def guarded(*nodes: Node, guarantee: int = 1) -> Cloud:
    """Three nodes of 4096 MiB; plan `small` has 1024 MiB, `large` 3072 MiB."""
    cloud = Cloud(*(nodes or (node("n1"), node("n2"), node("n3"))))
    cloud.run(lambda tx: tx.settings.save(replace(current_settings(tx), guarantee=guarantee)))
    return cloud


def fill(cloud: Cloud, count: int, **order: Any) -> None:
    for i in range(count):
        cloud.create(f"vm{i}", **order)


def kept(cloud: Cloud) -> bool:
    return cloud.run(lambda tx: broken_promise(load_view(tx), 1)) == ""


def close(cloud: Cloud, name: str, *, force: bool = False) -> Node:
    return cloud.run(lambda tx: set_maintenance(tx, name, True, WHEN, force=force))


def change(cloud: Cloud, **changes: object) -> None:
    cloud.run(lambda tx: change_settings(tx, changes, WHEN))


def test_what_is_kept_free_for_a_failure_is_not_sold() -> None:
    cloud = guarded()
    fill(cloud, 8)
    assert kept(cloud)
    with pytest.raises(
        GuaranteeBroken, match=r"running vm9 would break the guarantee of 1 node failure: the loss of n"
    ):
        cloud.create("vm9")
    assert len(cloud.run(lambda tx: tx.vms.where())) == 8, "nothing of it was written"
    change(cloud, guarantee=0)
    cloud.create("vm9")


def test_a_large_vm_is_refused_where_small_ones_still_fit() -> None:
    cloud = guarded()
    fill(cloud, 5)
    with pytest.raises(GuaranteeBroken):
        cloud.create("large", plan="large")
    cloud.create("small")
    assert kept(cloud)


def test_a_vm_that_is_created_off_needs_no_room_and_is_refused_when_it_is_switched_on() -> None:
    cloud = guarded()
    fill(cloud, 8)
    cloud.create("off", start=False)
    with pytest.raises(GuaranteeBroken, match="running off"):
        cloud.power(Command.POWERON, 9)
    cloud.power(Command.POWEROFF, 1)
    cloud.see(PowerSeen.OFF, 1)
    cloud.power(Command.POWERON, 9)
    assert kept(cloud)


def test_its_own_node_is_no_way_around_the_guarantee() -> None:
    cloud = guarded()
    fill(cloud, 8)
    cloud.power(Command.POWEROFF, 1)
    cloud.see(PowerSeen.OFF, 1)
    cloud.create("in-its-place")
    with pytest.raises(GuaranteeBroken):
        cloud.power(Command.POWERON, 1)
    assert cloud.vm(1).desired.value == "stopped"


def test_switched_on_already_it_is_asked_nothing() -> None:
    cloud = guarded()
    fill(cloud, 8)
    cloud.change_node("n3", memory_mib=512)
    cloud.power(Command.POWERON, 1)


def test_while_a_node_is_away_nothing_new_takes_the_room_that_is_left() -> None:
    cloud = guarded()
    fill(cloud, 2)
    cloud.change_node("n2", maintenance=True)
    cloud.change_node("n3", memory_mib=1024)
    with pytest.raises(GuaranteeBroken):
        cloud.create("more")


def test_closing_a_node_or_a_spare_that_the_guarantee_needs_is_refused_unless_forced() -> None:
    cloud = guarded(node("n1"), node("n2"), spare("n3"))
    fill(cloud, 6)
    with pytest.raises(GuaranteeBroken, match="closing n3 would break the guarantee of 1 node failure"):
        close(cloud, "n3")
    assert not cloud.node("n3").maintenance
    assert close(cloud, "n3", force=True).maintenance
    assert not kept(cloud)


def test_a_drain_counts_where_the_vms_will_be_afterwards() -> None:
    """With its VMs still on n1 the loss of another node is survived; once they have moved it is not."""
    cloud = guarded()
    fill(cloud, 6)
    with pytest.raises(GuaranteeBroken, match="closing n1"):
        close(cloud, "n1")
    cloud.power(Command.POWEROFF, 1)
    cloud.power(Command.POWEROFF, 2)
    assert close(cloud, "n1").maintenance


def test_a_drain_is_refused_like_a_closed_node_and_a_second_word_on_it_is_not() -> None:
    cloud = guarded()
    fill(cloud, 6)
    with pytest.raises(GuaranteeBroken, match="closing n1 would break the guarantee"):
        cloud.run(lambda tx: drain_node(tx, "n1", WHEN))
    assert not cloud.node("n1").evacuating
    cloud.run(lambda tx: drain_node(tx, "n1", WHEN, force=True))
    assert cloud.run(lambda tx: drain_node(tx, "n1", WHEN)).evacuating


def test_what_gives_room_is_never_refused() -> None:
    cloud = guarded()
    fill(cloud, 8)
    cloud.change_node("n3", memory_mib=2048)
    assert not kept(cloud)
    cloud.power(Command.POWEROFF, 1)
    close(cloud, "n3", force=True)
    cloud.run(lambda tx: set_maintenance(tx, "n3", False, WHEN))


def test_a_node_that_comes_up_as_a_witness_or_smaller_is_a_fact_that_is_written_down() -> None:
    cloud = guarded()
    fill(cloud, 8)
    row = cloud.node("n3")

    def report(memory_mib: int, role: NodeRole) -> None:
        facts = NodeFacts(row.id, "n3", row.address, role, memory_mib, row.cores, "", row.watchdog_seconds, "")
        cloud.run(lambda tx: report_observed(tx, facts, [], "ok", WHEN))

    def notes() -> list[str]:
        return [e.text for e in cloud.run(lambda tx: tx.events.where(kind="guarantee.broken"))]

    report(4096, NodeRole.COMPUTE)
    assert notes() == []
    report(4096, NodeRole.WITNESS)
    report(4096, NodeRole.WITNESS)
    (note,) = notes()
    assert note.startswith(
        "the guarantee of 1 node failure is not kept, for n3 came up with another role, rack or size: "
    )
    assert cloud.node("n3").role is NodeRole.WITNESS


@pytest.mark.parametrize(
    ("nodes", "guarantee", "why"),
    [
        (("n1", "n2"), 1, "after the loss of 1 of 2 nodes there is no quorum"),
        (("n1", "n2", "n3"), 2, "after the loss of 2 of 3 nodes there is no quorum"),
        (("n1",), 1, "after the loss of 1 of 1 nodes there is no quorum"),
    ],
)
def test_more_than_the_votes_allow_cannot_be_promised(nodes: tuple[str, ...], guarantee: int, why: str) -> None:
    cloud = Cloud(*map(node, nodes))
    with pytest.raises(InvalidInput, match=why) as refused:
        change(cloud, guarantee=guarantee)
    assert refused.value.field == "guarantee"
    assert cloud.run(current_settings).guarantee == 0


def test_more_than_there_is_room_for_cannot_be_promised() -> None:
    cloud = Cloud(node("n1"), node("n2"), node("n3"))
    fill(cloud, 9)
    with pytest.raises(InvalidInput, match="1 node failure cannot be promised: the loss of n"):
        change(cloud, guarantee=1)
    cloud.power(Command.POWEROFF, 1)
    change(cloud, guarantee=1)


def test_the_storm_guard_limits_the_promise_too() -> None:
    cloud = Cloud(*(node(f"n{i}") for i in range(1, 6)))
    change(cloud, guarantee=2)
    with pytest.raises(InvalidInput, match="no more than 1 nodes are fenced at once"):
        change(cloud, storm_share=0.3)


def test_less_overcommit_is_refused_when_the_promise_rests_on_it() -> None:
    cloud = Cloud(node("n1"), node("n2"), node("n3"))
    change(cloud, memory_overcommit=1.5)
    fill(cloud, 12)
    change(cloud, guarantee=1)
    with pytest.raises(InvalidInput, match="cannot be promised"):
        change(cloud, memory_overcommit=1.25)
    change(cloud, guarantee=0, memory_overcommit=1.25)


def test_two_requests_at_once_collide_on_one_row() -> None:
    """On two members of a database each would be good alone: both touch the first node, whatever node they chose."""
    cloud = guarded()
    before = cloud.node("n1").placements
    cloud.create("one")
    cloud.create("two")
    assert {cloud.vm(1).node, cloud.vm(2).node} == {"n1", "n2"}
    assert cloud.node("n1").placements == before + 2


# -- a node goes for good, a VM asks for more, a host goes down


def _in_a_cluster(cloud: Cloud) -> Cloud:
    layout = first_layout("rack", "n1", ("10.0.0.1",))
    for name in ("n2", "n3"):
        layout = with_member(layout, name, (f"10.0.0.{name[1:]}",), NodeRole.COMPUTE, database=None)
    cloud.run(lambda tx: tx.layouts.add(layout))
    return cloud


def _forget(cloud: Cloud, name: str, *, force: bool = False) -> None:
    cloud.run(lambda tx: forget_member(tx, name, WHEN, force=force))


def test_a_node_is_not_taken_out_when_the_rest_could_not_keep_the_promise() -> None:
    cloud = _in_a_cluster(guarded())
    with pytest.raises(GuaranteeBroken, match=r"taking n3 out .*would break the guarantee.*quorum"):
        _forget(cloud, "n3")
    assert cloud.run(lambda tx: len(tx.nodes.where())) == 3
    _forget(cloud, "n3", force=True)
    assert cloud.run(lambda tx: len(tx.nodes.where())) == 2


def test_nor_when_they_have_no_room_for_another_failure() -> None:
    cloud = guarded(*(node(f"n{i}", maintenance=i == 5) for i in range(1, 6)), guarantee=0)
    fill(cloud, 13)
    cloud.run(lambda tx: set_maintenance(tx, "n5", False, WHEN))
    layout = first_layout("rack", "n1", ("10.0.0.1",))
    for i in range(2, 6):
        layout = with_member(layout, f"n{i}", (f"10.0.0.{i}",), NodeRole.COMPUTE, database=False)
    cloud.run(lambda tx: tx.layouts.add(layout))
    change(cloud, guarantee=1)
    with pytest.raises(GuaranteeBroken, match="taking n5 out of the cluster would break the guarantee"):
        _forget(cloud, "n5")


def test_a_node_that_is_lost_is_forgotten_whatever_was_promised() -> None:
    """Room and vote went with it."""
    cloud = _in_a_cluster(guarded())
    cloud.run(lambda tx: tx.nodes.save(replace(tx.nodes.where(name="n3")[0], state=NodeState.FENCED)))
    _forget(cloud, "n3")
    assert cloud.run(lambda tx: len(tx.nodes.where())) == 2


def test_a_vm_that_asks_for_more_than_can_be_promised_is_refused() -> None:
    cloud = guarded(node("n1", tags=("ssd",)), node("n2"), node("n3"))
    fill(cloud, 1)

    def ask(force: bool = False, **rules: Any) -> None:
        cloud.run(
            lambda tx: set_vm_rules(
                tx, 1, rules.get("ha", {}), rules.get("needs", {}), rules.get("prio"), WHEN, force=force
            )
        )

    with pytest.raises(GuaranteeBroken, match=r"changing vm0 would break the guarantee of 1 node failure"):
        ask(needs={"tags": ("ssd",)})
    ask(needs={"tags": ("ssd",)}, force=True)
    assert not kept(cloud)
    ask(prio=90)  # changes nothing of that
    ask(ha={"ha_class": HaClass.BEST_EFFORT})  # promises less
    assert kept(cloud)
    with pytest.raises(GuaranteeBroken):
        ask(ha={"ha_class": HaClass.GUARANTEED})


def test_a_host_that_goes_down_is_not_refused_and_what_it_costs_is_written_down() -> None:
    cloud = guarded()
    fill(cloud, 5)
    for _ in range(2):
        cloud.run(lambda tx: leave_node(tx, "n3", ShutdownPolicy.MIGRATE, 0.0, WHEN))
    told = [e.text for e in cloud.run(lambda tx: tx.events.where(kind="guarantee.broken"))]
    assert len(told) == 1
    assert told[0].startswith("the guarantee of 1 node failure is not kept, for n3 is being shut down: ")
