"""Rolling reboots as they are written: one at a time, each turn once, nothing taken back that is not theirs."""

import pytest

from app.domain.cluster_settings import ClusterSettings
from app.domain.errors import Conflict, NotFound, StaleEpoch
from app.domain.node import Node
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.domain.rolling_steps import Turn, Verb
from app.services.advance_rolling import advance_rolling
from app.services.drain_node import drain_node
from app.services.load_view import current_run
from app.services.refusals import WrongState
from app.services.report_observed import NodeFacts, report_observed
from app.services.return_node import return_node
from app.services.start_rolling import start_rolling
from app.services.stop_rolling import stop_rolling
from tests.domain.make import WHEN, node, witness
from tests.services.make_cloud import Cloud


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(*(node(f"n{i}", boot_id=f"boot-{i}") for i in (1, 2, 3)))


def _row(cloud: Cloud, name: str) -> Node:
    (row,) = cloud.run(lambda tx: tx.nodes.where(name=name))
    return row


def _run(cloud: Cloud) -> RollingRun:
    return cloud.run(current_run)


def _turn(cloud: Cloud, verb: Verb, name: str = "n1", number: int | None = None) -> RollingRun:
    turn = Turn(_run(cloud).turns if number is None else number, verb, name, "because")
    cloud.run(lambda tx: advance_rolling(tx, 0, turn, WHEN))
    return _run(cloud)


def _start(cloud: Cloud, *names: str, force: bool = False) -> RollingRun:
    return cloud.run(lambda tx: start_rolling(tx, names, WHEN, force=force))


def _reports(cloud: Cloud, name: str, boot_id: str) -> None:
    old = _row(cloud, name)
    facts = NodeFacts(
        old.id, name, old.address, old.role, old.memory_mib, old.cores, old.rack, old.watchdog_seconds, boot_id
    )
    cloud.run(lambda tx: report_observed(tx, facts, (), "ok", WHEN))


def test_a_node_goes_through_all_of_it(cloud: Cloud) -> None:
    assert _start(cloud).pending == ("n1", "n2", "n3")
    run = _turn(cloud, Verb.DRAIN)
    assert (run.node, run.step, run.boot_id, run.pending) == ("n1", RunStep.DRAINING, "boot-1", ("n2", "n3"))
    assert _row(cloud, "n1").evacuating
    assert _turn(cloud, Verb.REBOOT).step is RunStep.REBOOTING
    assert (_row(cloud, "n1").leaving, _row(cloud, "n1").reboot_of) == ("migrate", "boot-1")
    _reports(cloud, "n1", "boot-1")
    assert _row(cloud, "n1").reboot_of == "boot-1", "the same boot still"
    _reports(cloud, "n1", "boot-9")
    back = _row(cloud, "n1")
    assert (back.leaving, back.reboot_of, back.maintenance) == ("", "", True)
    assert _turn(cloud, Verb.SETTLE).step is RunStep.SETTLING
    run = _turn(cloud, Verb.RETURN)
    assert (run.node, run.rebooted) == ("", ("n1",))
    assert not _row(cloud, "n1").maintenance
    assert _turn(cloud, Verb.FINISH, "").state is RunState.DONE
    told = [e.text for e in cloud.run(lambda tx: tx.events.where(kind="cluster.rolling"))]
    assert len(told) == 6
    assert told[-1] == "rolling reboot, done: because"


def test_a_turn_that_was_decided_on_an_older_row_is_refused(cloud: Cloud) -> None:
    number = _start(cloud).turns
    _turn(cloud, Verb.DRAIN)
    with pytest.raises(Conflict, match="has changed"):
        _turn(cloud, Verb.DRAIN, "n2", number)
    assert not _row(cloud, "n2").evacuating
    stale = Turn(_run(cloud).turns, Verb.REBOOT, "n1", "")
    with pytest.raises(StaleEpoch):
        cloud.run(lambda tx: advance_rolling(tx, 7, stale, WHEN))
    assert _row(cloud, "n1").reboot_of == ""


def test_one_run_at_a_time(cloud: Cloud) -> None:
    _start(cloud, "n2")
    with pytest.raises(WrongState, match="a rolling reboot is under way"):
        _start(cloud)
    cloud.run(lambda tx: stop_rolling(tx, WHEN))
    assert _start(cloud, "n3").pending == ("n3",)


def test_what_cannot_be_done_is_refused_as_a_whole(cloud: Cloud) -> None:
    cloud.run(lambda tx: drain_node(tx, "n2", WHEN))
    with pytest.raises(WrongState, match=r"n2: is in maintenance already: .*These can go: n1, n3; name them"):
        _start(cloud)
    with pytest.raises(NotFound):
        _start(cloud, "n7")
    assert _run(cloud).state is RunState.NONE
    assert _start(cloud, "n1", "n3").pending == ("n1", "n3")


def test_the_guarantee_is_broken_by_force_only(cloud: Cloud) -> None:
    cloud.run(lambda tx: tx.settings.save(ClusterSettings(guarantee=1)))
    with pytest.raises(WrongState, match=r"n1, n2, n3: breaks the guarantee of 1 more.*No node can go"):
        _start(cloud)
    _start(cloud, force=True)
    assert _turn(cloud, Verb.DRAIN).node == "n1"


def test_a_stop_takes_a_drain_back_and_waits_for_a_reboot(cloud: Cloud) -> None:
    _start(cloud)
    _turn(cloud, Verb.DRAIN)
    assert cloud.run(lambda tx: stop_rolling(tx, WHEN)).state is RunState.STOPPED
    assert not _row(cloud, "n1").evacuating
    before = _run(cloud)
    assert cloud.run(lambda tx: stop_rolling(tx, WHEN)) == before, "said twice"
    _start(cloud)
    _turn(cloud, Verb.DRAIN)
    _turn(cloud, Verb.REBOOT)
    stopping = cloud.run(lambda tx: stop_rolling(tx, WHEN))
    assert (stopping.state, stopping.node, stopping.pending) == (RunState.STOPPING, "n1", ())
    assert _row(cloud, "n1").reboot_of == "boot-1"
    assert _turn(cloud, Verb.RETURN).rebooted == ("n1",)
    assert _turn(cloud, Verb.STOP, "").state is RunState.STOPPED


def test_a_run_that_ends_for_a_node_that_stays_away_leaves_it_in_maintenance(cloud: Cloud) -> None:
    _start(cloud)
    _turn(cloud, Verb.DRAIN)
    _turn(cloud, Verb.REBOOT)
    assert _turn(cloud, Verb.STOP).state is RunState.STOPPED
    row = _row(cloud, "n1")
    assert (row.maintenance, row.leaving, row.reboot_of) == (True, "migrate", ""), "excused, and not rebooted any more"


def test_returning_the_node_takes_the_reboot_back(cloud: Cloud) -> None:
    _start(cloud)
    _turn(cloud, Verb.DRAIN)
    _turn(cloud, Verb.REBOOT)
    cloud.run(lambda tx: return_node(tx, "n1", WHEN))
    assert (_row(cloud, "n1").reboot_of, _row(cloud, "n1").leaving) == ("", "")


def test_a_witness_is_not_drained() -> None:
    cloud = Cloud(node("n1"), node("n2"), witness("n3"))
    _start(cloud, "n3")
    assert _turn(cloud, Verb.DRAIN, "n3").node == "n3"
    assert not _row(cloud, "n3").maintenance


def test_a_node_that_was_removed_meanwhile_does_not_stop_the_end(cloud: Cloud) -> None:
    _start(cloud)
    _turn(cloud, Verb.DRAIN)
    cloud.run(lambda tx: tx.nodes.remove(1))
    assert _turn(cloud, Verb.STOP).state is RunState.STOPPED
