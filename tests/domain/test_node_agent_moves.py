"""When a node's agent gives a migration up: without progress, not because it takes long."""

import pytest

from app.domain.actions import AbortMove, MigrateVm
from app.domain.events import DomainFact, DomainState, MoveFact
from app.domain.migration import Migration
from tests.domain.make import vm
from tests.domain.one_agent import NodeAgent, only, running

STALL, LONGEST = 60.0, 900.0
MOVES = vm(1, migrating_to="n2", migration=Migration(generation=2))


def _up(move: MoveFact) -> DomainFact:
    return DomainFact(1, 1, DomainState.RUNNING, guest_alive=True, move=move)


def _begun() -> NodeAgent:
    """At second 1 the agent began to migrate VM 1 to n2."""
    agent = NodeAgent.quorate(move_stall_seconds=STALL, move_seconds_max=LONGEST)
    assert only(MigrateVm, agent.sees(1.0, (running(1),), (MOVES,)))
    agent.ended(1.0, 1, "migrate", _up(MoveFact(running=True)))
    return agent


def _sees(agent: NodeAgent, now: float, move: MoveFact) -> str:
    """Why the agent gives it up when libvirt says that; empty when it does not."""
    return " ".join(a.why for a in only(AbortMove, agent.sees(now, (_up(move),), (MOVES,))))


def _flows(left: int | None, memory_pass: int = 1) -> MoveFact:
    return MoveFact(running=True, remaining_mib=left, memory_pass=memory_pass)


def test_what_takes_long_goes_on_while_its_memory_goes_over() -> None:
    agent = _begun()
    assert _sees(agent, 2.0, _flows(None)) == "", "libvirt has no figures yet"
    for second in range(10, 800, 50):
        assert _sees(agent, float(second), _flows(4000 - second)) == ""


def test_a_new_pass_is_progress_though_more_is_left_than_before() -> None:
    agent = _begun()
    for memory_pass in range(1, 8):
        at = memory_pass * 100.0
        assert _sees(agent, at - 50, _flows(500, memory_pass)) == ""
        assert _sees(agent, at, _flows(0, memory_pass)) == ""


@pytest.mark.parametrize(
    ("left", "said"),
    [(None, "nothing went over yet: nothing reaches n2"), (300, "300 MiB are left: the network")],
)
def test_no_progress_gives_it_up(left: int | None, said: str) -> None:
    agent = _begun()
    first = 1.0 if left is None else 31.0
    assert _sees(agent, 31.0, _flows(left)) == ""
    assert _sees(agent, first + STALL - 1, _flows(left)) == ""
    assert said in _sees(agent, first + STALL, _flows(left))


def test_a_guest_that_changes_its_memory_for_ever_is_given_up_in_the_end() -> None:
    agent = _begun()
    for memory_pass in range(1, 30):
        assert _sees(agent, 30.0 * memory_pass, _flows(700, memory_pass)) == ""
    assert "700 MiB are left: too slow, or its guest changes more" in _sees(agent, 1.0 + LONGEST, _flows(700, 30))


def test_a_migration_that_an_agent_of_before_began_is_timed_from_when_it_is_found() -> None:
    agent = NodeAgent.quorate(move_stall_seconds=STALL, move_seconds_max=LONGEST)
    assert _sees(agent, 500.0, _flows(None)) == ""
    assert "no progress" in _sees(agent, 500.0 + STALL, _flows(None))
