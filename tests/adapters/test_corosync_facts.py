"""What the adapter makes of Corosync's facts, without a corosync."""

import json
from collections.abc import Iterable
from ctypes import c_uint32, sizeof

import pytest

from app.adapters.corosync.abi import Collected, CorosyncError, CpgAddress, CpgName, check
from app.adapters.corosync.agents_group import AgentsGroup
from app.adapters.corosync.cpg import GroupSeen, Process
from app.adapters.corosync.quorum import QuorumSeen, _seen
from app.adapters.corosync.signals import MalformedSignal, decode, encode
from app.domain.events import GroupChanged, SignalReceived


def seen(members: set[Process], left: Iterable[Process] = (), joined: Iterable[Process] = ()) -> GroupSeen:
    return GroupSeen(frozenset(members), frozenset(left), frozenset(joined))


def changed(members: str, joined: str = "", left: str = "") -> GroupChanged:
    return GroupChanged(frozenset(members.split()), frozenset(joined.split()), frozenset(left.split()))


@pytest.fixture
def agents() -> AgentsGroup:
    group = AgentsGroup(lambda node: f"n{node}")
    assert group.take_in(seen({(1, 10), (2, 20)}, joined={(2, 20)})) == changed("n1 n2", joined="n1 n2")
    return group


def test_nodes_come_and_go(agents: AgentsGroup) -> None:
    assert agents.take_in(seen({(1, 10), (2, 20), (3, 30)}, joined={(3, 30)})) == changed("n1 n2 n3", joined="n3")
    assert agents.take_in(seen({(2, 20)}, left={(1, 10), (3, 30)})) == changed("n2", left="n1 n3")


def test_a_restart_in_two_events(agents: AgentsGroup) -> None:
    assert agents.take_in(seen({(1, 10)}, left={(2, 20)})) == changed("n1", left="n2")
    assert agents.take_in(seen({(1, 10), (2, 20)}, joined={(2, 20)})) == changed("n1 n2", joined="n2")


def test_a_restart_in_one_event(agents: AgentsGroup) -> None:
    restarted = changed("n1 n2", joined="n2", left="n2")
    assert agents.take_in(seen({(1, 10), (2, 21)}, left={(2, 20)}, joined={(2, 21)})) == restarted
    # the same pid again: its corosync was restarted faster than its absence was seen
    assert agents.take_in(seen({(1, 10), (2, 21)}, left={(2, 21)}, joined={(2, 21)})) == restarted


def test_a_second_process_joins_anew_and_the_old_one_ends_unheard(agents: AgentsGroup) -> None:
    both = seen({(1, 10), (2, 20), (2, 21)}, joined={(2, 21)})
    assert agents.take_in(both) == changed("n1 n2", joined="n2", left="n2")
    assert agents.take_in(seen({(1, 10), (2, 21)}, left={(2, 20)})) is None
    assert agents.take_in(seen({(1, 10)}, left={(2, 21)})) == changed("n1", left="n2")


def test_losing_corosync_empties_the_group_and_the_next_one_is_new(agents: AgentsGroup) -> None:
    assert agents.lost() == changed("", left="n1 n2")
    assert agents.lost() == changed("")
    assert agents.take_in(seen({(1, 10)}, joined={(1, 10)})) == changed("n1", joined="n1")


@pytest.mark.parametrize(("vm_id", "epoch"), [(None, 0), (17, 0), (None, 2**40)])
def test_signals_go_round(vm_id: int | None, epoch: int) -> None:
    assert decode("n1", encode("look", vm_id, epoch)) == SignalReceived("n1", "look", vm_id, epoch)
    assert decode("n1", encode("look", vm_id, epoch, "n2")) == SignalReceived("n1", "look", vm_id, epoch, "n2")


GOOD: dict[str, object] = {"version": 1, "kind": "look", "vm_id": 5, "epoch": 2}


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff\xfe",
        b"[" * 1000,
        b"null",
        b'"look"',
        *(
            json.dumps(GOOD | wrong).encode()
            for wrong in (
                {"version": 2},
                {"version": None},
                {"kind": ""},
                {"kind": 5},
                {"kind": "x" * 65},
                {"vm_id": "5"},
                {"vm_id": True},
                {"vm_id": -1},
                {"epoch": None},
                {"epoch": 1.5},
                {"more": "x" * 1024},
            )
        ),
    ],
)
def test_what_is_no_signal_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedSignal):
        decode("n1", payload)


def test_a_later_version_of_this_product_may_add_fields() -> None:
    assert decode("n1", json.dumps(GOOD | {"more": 1}).encode()) == SignalReceived("n1", "look", 5, 2)


def test_an_error_in_a_callback_is_raised_by_take_and_facts_keep_their_order() -> None:
    facts: Collected[int] = Collected()
    callback = facts.by(lambda number: 10 // number)
    callback(5)
    callback(2)
    assert facts.take() == [2, 5]
    callback(0)
    callback(1)
    with pytest.raises(CorosyncError) as caught:
        facts.take()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_quorum_notification_is_copied_out_of_corosyncs_memory() -> None:
    memory = (c_uint32 * 3)(1, 2, 3)
    fact = _seen(7, 1, 44, 2, memory)
    memory[0] = 9
    assert fact == QuorumSeen(frozenset({1, 2}), True)
    assert _seen(7, 0, 44, 3, memory) == QuorumSeen(frozenset({9, 2, 3}), False)


def test_a_corosync_that_has_formed_no_ring_yet_is_not_quorate() -> None:
    assert _seen(7, 1, 0, 0, None) == QuorumSeen(frozenset(), False)


def test_layouts_have_the_sizes_of_the_headers() -> None:
    assert (sizeof(CpgAddress), sizeof(CpgName)) == (12, 132)


def test_codes_are_explained() -> None:
    check("cpg_join", 1)
    with pytest.raises(CorosyncError, match=r"cpg_join: error 2, .*not running"):
        check("cpg_join", 2)
    with pytest.raises(CorosyncError, match="error 77"):
        check("cpg_join", 77)
