"""Which node takes a VM, and what is said about those that do not."""

from typing import Any

import pytest

from app.domain.node import Node
from app.domain.placement import NoRoom, Placement, choose_node
from app.domain.vm import Desired, Vm
from tests.domain.make import fenced, lost, node, spare, view, vm, witness


def _choose(nodes: list[Node], others: list[Vm], one: Vm, *, recovery: bool = False) -> Placement | NoRoom:
    return choose_node(view(nodes, others), one, recovery=recovery)


def _node_of(choice: Placement | NoRoom) -> str:
    assert isinstance(choice, Placement), choice
    return choice.node


def test_the_node_with_the_fewest_vms_takes_it_though_another_has_more_memory() -> None:
    nodes = [node("n1", memory_mib=65536), node("n2")]
    assert _node_of(_choose(nodes, [vm(1, "n1")], vm(9, None))) == "n2"


def test_a_full_node_is_passed_over_for_the_next_in_order() -> None:
    nodes = [node("n1", memory_mib=1024), node("n2")]
    others = [vm(1, "n2"), vm(2, "n2")]
    assert _node_of(_choose(nodes, others, vm(9, None, memory_mib=2048))) == "n2"


def test_ties_go_to_the_most_free_memory_then_to_the_first_name() -> None:
    assert _node_of(_choose([node("n1"), node("n2", memory_mib=8192)], [], vm(9, None))) == "n2"
    assert _node_of(_choose([node("n2"), node("n1")], [], vm(9, None))) == "n1"


def test_memory_to_the_last_mebibyte_is_enough_and_one_less_is_not() -> None:
    others = [vm(1, "n1", memory_mib=1024)]
    assert _node_of(_choose([node("n1", memory_mib=1536)], others, vm(9, None, memory_mib=512))) == "n1"
    choice = _choose([node("n1", memory_mib=1535)], others, vm(9, None, memory_mib=512))
    assert isinstance(choice, NoRoom)
    assert choice.reason == "no node can take it: n1: has 511 MiB of memory free, 512 MiB needed"


def test_a_vm_that_is_off_promises_no_memory_and_a_suspended_one_keeps_its_own() -> None:
    stopped = vm(1, "n1", memory_mib=4096, desired=Desired.STOPPED)
    suspended = vm(2, "n1", memory_mib=4096, locked=True)
    assert _node_of(_choose([node("n1")], [stopped], vm(9, None))) == "n1"
    assert isinstance(_choose([node("n1")], [suspended], vm(9, None)), NoRoom)


def test_a_spare_is_used_in_a_recovery_only() -> None:
    assert isinstance(_choose([spare("n1")], [], vm(9, None)), NoRoom)
    assert _node_of(_choose([spare("n1")], [], vm(9, None), recovery=True)) == "n1"


@pytest.mark.parametrize(
    ("refusing", "vm_facts", "why"),
    [
        (witness("n1"), {}, "is a witness and hosts no VMs"),
        (lost("n1"), {}, "is lost"),
        (fenced("n1"), {}, "is fenced"),
        (node("n1", maintenance=True), {}, "is in maintenance"),
        (node("n1"), {"failed_nodes": ("n1",)}, "failed to start it before"),
        (node("n1", cores=2), {"cores": 4}, "has 2 cores, 4 needed"),
        (node("n1", memory_mib=256), {}, "has 256 MiB of memory free, 512 MiB needed"),
    ],
)
def test_who_cannot_take_it_says_why_even_in_a_recovery(refusing: Node, vm_facts: dict[str, Any], why: str) -> None:
    one = vm(9, None, **vm_facts)
    choice = _choose([refusing], [], one, recovery=True)
    assert isinstance(choice, NoRoom)
    assert choice.others == (("n1", why),)

    beside_a_good_one = _choose([refusing, node("n2")], [], one, recovery=True)
    assert isinstance(beside_a_good_one, Placement)
    assert beside_a_good_one.node == "n2"
    assert ("n1", why) in beside_a_good_one.others


def test_a_choice_says_why_it_was_made() -> None:
    choice = _choose([node("n1"), node("n2")], [vm(1, "n2")], vm(9, None))
    assert isinstance(choice, Placement)
    assert choice.why == "fewest VMs (0) of the nodes with 512 MiB of memory free (4096 MiB)"
    assert choice.others == (("n2", "has 1 VMs, more than n1 or later in order"),)


def test_no_nodes_at_all_is_said_too() -> None:
    choice = _choose([], [], vm(9, None))
    assert isinstance(choice, NoRoom)
    assert choice.reason == "no node can take it: there are no nodes"
