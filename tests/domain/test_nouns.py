"""The tables of the nouns: a node's life, a VM's status."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.node import TRANSITIONS, NodeState
from app.domain.vm import ALLOWED, Command, Desired, Observed, PowerSeen, Status, status_of
from tests.domain.make import WHEN, node, vm

WORDS = ("absent", "returned", "fenced", "cleaned")


@pytest.mark.parametrize("state", NodeState)
@pytest.mark.parametrize("what", WORDS)
def test_a_node_changes_by_the_table_and_by_nothing_else(state: NodeState, what: str) -> None:
    one = node("n1", state=state)
    if (state, what) in TRANSITIONS:
        assert one.after(what) is TRANSITIONS[state, what]
    else:
        with pytest.raises(KeyError):
            one.after(what)


def test_a_node_becomes_fenced_only_through_lost_and_hosts_again_only_when_it_has_cleaned_itself() -> None:
    to_fenced = [key for key, after in TRANSITIONS.items() if after is NodeState.FENCED]
    out_of_fenced = [key for key in TRANSITIONS if key[0] is NodeState.FENCED]
    assert to_fenced == [(NodeState.LOST, "fenced")]
    assert out_of_fenced == [(NodeState.FENCED, "cleaned")]


STATUS: list[tuple[str, dict[str, Any], PowerSeen, Status]] = [
    ("up", {}, PowerSeen.RUNNING, Status.RUNNING),
    ("paused without quorum", {}, PowerSeen.PAUSED, Status.PAUSED),
    ("being started again", {}, PowerSeen.OFF, Status.STARTING),
    ("its node cannot start it", {}, PowerSeen.FAILED, Status.STARTING),
    ("on its way in a recovery", {"incident_id": 1}, PowerSeen.STARTING, Status.RECOVERING),
    ("up again, the recovery still open", {"incident_id": 1}, PowerSeen.RUNNING, Status.RUNNING),
    ("waits for room", {"node": None}, PowerSeen.UNKNOWN, Status.UNPLACED),
    ("waits for room in a recovery", {"node": None, "incident_id": 1}, PowerSeen.RUNNING, Status.UNPLACED),
    ("asked to stop, still up", {"desired": Desired.STOPPED}, PowerSeen.RUNNING, Status.STOPPING),
    ("stopped", {"desired": Desired.STOPPED}, PowerSeen.OFF, Status.OFF),
    ("stopped, without a node", {"desired": Desired.STOPPED, "node": None}, PowerSeen.UNKNOWN, Status.OFF),
    ("suspended, still up", {"locked": True}, PowerSeen.RUNNING, Status.STOPPING),
    ("suspended", {"locked": True}, PowerSeen.OFF, Status.OFF),
    ("deleted, still up", {"desired": Desired.DELETED}, PowerSeen.RUNNING, Status.DELETING),
    ("deleted", {"desired": Desired.DELETED, "node": None}, PowerSeen.OFF, Status.DELETING),
]


@pytest.mark.parametrize(("facts", "power", "status"), [s[1:] for s in STATUS], ids=[s[0] for s in STATUS])
def test_status(facts: dict[str, Any], power: PowerSeen, status: Status) -> None:
    one = replace(vm(1, "n1", 3), **facts)
    assert status_of(replace(one, observed=Observed(power, 3, one.node or ""))) is status


def test_a_vm_that_nobody_ever_saw_is_initializing() -> None:
    assert status_of(vm(1)) is Status.INITIALIZING


@pytest.mark.parametrize(("node_seen", "generation"), [("n2", 3), ("n1", 2)], ids=["other node", "older placement"])
def test_what_was_seen_of_another_placement_says_nothing_about_this_one(node_seen: str, generation: int) -> None:
    one = replace(vm(1, "n1", 3), observed=Observed(PowerSeen.RUNNING, generation, node_seen, WHEN))
    assert not one.verified
    assert status_of(one) is Status.STARTING


def test_verified_needs_a_guest_that_was_seen_alive_and_still_runs() -> None:
    one = vm(1, "n1", 3)
    assert replace(one, observed=Observed(PowerSeen.RUNNING, 3, "n1", WHEN)).verified
    assert not replace(one, observed=Observed(PowerSeen.RUNNING, 3, "n1")).verified
    assert not replace(one, observed=Observed(PowerSeen.PAUSED, 3, "n1", WHEN)).verified


def test_a_vm_that_is_being_deleted_takes_no_command() -> None:
    assert set(ALLOWED) == set(Command)
    assert all(Status.DELETING not in allowed for allowed in ALLOWED.values())
    assert Status.OFF not in ALLOWED[Command.REBOOT] | ALLOWED[Command.SHUTDOWN] | ALLOWED[Command.RESET]
