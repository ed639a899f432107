"""Live migration through the port `Hypervisor`, on the simulated one and between two real libvirtd with QEMU."""

import re

import pytest

from app.domain.events import DomainState, MoveFact
from app.domain.vm import StopMode
from app.ports.hypervisor import Hypervisor, HypervisorError, Passenger
from tests.ports.hypervisor.bench import LibvirtPair, SimPair, fact

AnyPair = SimPair | LibvirtPair
PAUSED, RUNNING, SHUTOFF = DomainState.PAUSED, DomainState.RUNNING, DomainState.SHUTOFF


def _alive(host: Hypervisor) -> bool:
    known = fact(host, 17)
    return known is not None and known.guest_alive is True


def _state(host: Hypervisor) -> DomainState | None:
    known = fact(host, 17)
    return known.state if known is not None else None


def _move(host: Hypervisor) -> MoveFact | None:
    known = fact(host, 17)
    return known.move if known is not None else None


def _over(host: Hypervisor) -> bool:
    move = _move(host)
    return move is not None and not move.running


def _started(pair: AnyPair, generation: int = 3) -> None:
    pair.source.start(pair.spec(17, generation))
    pair.until("sign of life", lambda: _alive(pair.source))


def test_the_copy_is_handed_over_and_stands_still_until_it_is_resumed(pair: AnyPair) -> None:
    _started(pair)
    pair.source.migrate(17, 3, pair.passenger(4))
    seen = set()

    def handed_over() -> bool:
        seen.add(_state(pair.target))
        return _state(pair.source) is SHUTOFF

    pair.until("hand-over", handed_over)
    left, come = fact(pair.source, 17), fact(pair.target, 17)
    assert left is not None
    assert come is not None
    assert (left.generation, left.ended) == (3, "migrated")
    assert (come.generation, come.state) == (4, PAUSED)
    assert seen <= {None, PAUSED}, "nothing of it ran before it was resumed"
    pair.target.resume(17, 4)
    pair.until("sign of life", lambda: _alive(pair.target))
    pair.source.destroy(17, 3)
    assert list(pair.source.domains()) == []
    assert _state(pair.target) is RUNNING


def test_what_came_by_a_migration_is_stopped_started_and_migrated_on(pair: AnyPair) -> None:
    _started(pair)
    pair.source.migrate(17, 3, pair.passenger(4))
    pair.until("hand-over", lambda: _state(pair.source) is SHUTOFF)
    pair.target.resume(17, 4)
    pair.target.stop(17, 4, StopMode.HARD)
    known = fact(pair.target, 17)
    assert known is not None
    assert (known.generation, known.state, known.ended) == (4, SHUTOFF, "destroyed")
    pair.target.start(pair.spec(17, 4))
    assert _state(pair.target) is RUNNING


def test_an_aborted_migration_leaves_the_copy_where_it_was_and_nothing_at_the_target(pair: AnyPair) -> None:
    _started(pair)
    pair.slow()
    pair.source.migrate(17, 3, pair.passenger(4))
    pair.until("passenger", lambda: _state(pair.target) is PAUSED)
    with pytest.raises(HypervisorError, match="under way"):
        pair.source.migrate(17, 3, pair.passenger(5))
    pair.source.abort_migration(17, 3)
    pair.until("end of the migration", lambda: _over(pair.source))
    pair.until("end of the passenger", lambda: _state(pair.target) is None)
    move = _move(pair.source)
    assert move is not None
    assert move.error
    assert _state(pair.source) is RUNNING
    pair.source.abort_migration(17, 3)


def test_a_passenger_that_is_destroyed_ends_the_migration_and_the_copy_goes_on(pair: AnyPair) -> None:
    _started(pair)
    pair.slow()
    pair.source.migrate(17, 3, pair.passenger(4))
    pair.until("passenger", lambda: _state(pair.target) is PAUSED)
    pair.target.destroy(17, 4)
    pair.until("end of the migration", lambda: _over(pair.source))
    assert _state(pair.source) is RUNNING
    assert list(pair.target.domains()) == []


def test_a_copy_that_is_destroyed_in_the_middle_takes_its_passenger_with_it(pair: AnyPair) -> None:
    _started(pair)
    pair.slow()
    pair.source.migrate(17, 3, pair.passenger(4))
    pair.until("passenger", lambda: _state(pair.target) is PAUSED)
    pair.source.destroy(17, 3)
    pair.until("end of the passenger", lambda: list(pair.target.domains()) == [])
    assert list(pair.source.domains()) == []


def test_a_target_that_is_not_there_is_told(pair: AnyPair) -> None:
    _started(pair)
    try:
        pair.source.migrate(17, 3, Passenger("n9", "/nowhere", 4))
        pair.until("end of the migration", lambda: _over(pair.source))
        move = _move(pair.source)
        error = move.error if move is not None else ""
    except HypervisorError as refused:
        error = str(refused)
    assert "/nowhere" in error
    assert _state(pair.source) is RUNNING


def test_only_a_copy_of_that_generation_that_runs_is_migrated(pair: AnyPair) -> None:
    with pytest.raises(HypervisorError, match="no domain"):
        pair.source.migrate(17, 3, pair.passenger(4))
    _started(pair)
    with pytest.raises(HypervisorError, match="generation 3"):
        pair.source.migrate(17, 2, pair.passenger(4))
    pair.source.pause(17, 3)
    with pytest.raises(HypervisorError, match="not running"):
        pair.source.migrate(17, 3, pair.passenger(4))


@pytest.mark.lab
def test_the_guest_goes_on_counting_and_a_new_agent_finds_the_migration(qemu_pair: LibvirtPair) -> None:
    from app.adapters.libvirt import LibvirtHypervisor

    _started(qemu_pair)
    qemu_pair.until("ticks", lambda: "TEST-GUEST tick 3" in qemu_pair.bench.console(17))
    qemu_pair.slow()
    qemu_pair.source.migrate(17, 3, qemu_pair.passenger(4))
    qemu_pair.until("passenger", lambda: _state(qemu_pair.target) is PAUSED)
    other = LibvirtHypervisor(qemu_pair.daemons[0].uri, "qemu", str(qemu_pair.bench.directory))
    try:
        qemu_pair.until("found migration", lambda: (m := _move(other)) and m.running and m.remaining_mib)
        qemu_pair.until("number of its pass", lambda: (m := _move(other)) and m.running and m.memory_pass > 0)
        other.abort_migration(17, 3)
        qemu_pair.until("end of the migration", lambda: _over(other))
    finally:
        other.close()
    ticks = [int(t) for t in re.findall(r"TEST-GUEST tick (\d+)", qemu_pair.bench.console(17))]
    assert ticks == sorted(ticks)
    assert ticks[0] == 1
    assert ticks.count(1) == 1, "it never booted anew"
