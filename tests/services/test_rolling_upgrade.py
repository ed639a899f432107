"""Rolling upgrades as they are written: said again they go on, and nothing is begun that would make three versions."""

import pytest

from app.domain.node import Node
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.domain.rolling_steps import Turn, Verb
from app.services.advance_rolling import advance_rolling
from app.services.drain_node import drain_node
from app.services.load_view import current_run
from app.services.refusals import WrongState
from app.services.report_observed import NodeFacts, report_observed
from app.services.return_node import return_node
from app.services.start_rolling import ask_upgrade, start_rolling, start_upgrade
from app.services.stop_rolling import stop_rolling
from tests.domain.make import WHEN, node
from tests.services.make_cloud import Cloud

OLD, NEW = "1.0.0", "1.1.0"


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(*(node(f"n{i}", version=OLD) for i in (1, 2, 3)))


def _row(cloud: Cloud, name: str) -> Node:
    (row,) = cloud.run(lambda tx: tx.nodes.where(name=name))
    return row


def _start(cloud: Cloud, *names: str, version: str = NEW) -> RollingRun:
    return cloud.run(lambda tx: start_upgrade(tx, version, names, WHEN))


def _turn(cloud: Cloud, verb: Verb, name: str = "n1") -> RollingRun:
    turn = Turn(cloud.run(current_run).turns, verb, name, "because")
    cloud.run(lambda tx: advance_rolling(tx, 0, turn, WHEN))
    return cloud.run(current_run)


def _reports(cloud: Cloud, name: str, version: str, database: str | None = None) -> None:
    old = _row(cloud, name)
    facts = NodeFacts(
        old.id, name, old.address, old.role, old.memory_mib, old.cores, old.rack, old.watchdog_seconds, old.boot_id,
        version=version,
    )  # fmt: skip
    cloud.run(lambda tx: report_observed(tx, facts, (), "ok", WHEN, database))


def _through(cloud: Cloud, name: str) -> None:
    for verb in (Verb.DRAIN, Verb.UPGRADE):
        _turn(cloud, verb, name)
    _reports(cloud, name, NEW)
    for verb in (Verb.SETTLE, Verb.RETURN):
        _turn(cloud, verb, name)


def test_a_node_goes_through_all_of_it(cloud: Cloud) -> None:
    assert _start(cloud).pending == ("n1", "n2", "n3")
    _turn(cloud, Verb.DRAIN)
    assert _turn(cloud, Verb.UPGRADE).step is RunStep.UPGRADING
    row = _row(cloud, "n1")
    assert (row.upgrade_to, row.reboot_of, row.leaving, row.maintenance) == (NEW, "", "", True)
    _reports(cloud, "n1", NEW, "synced")
    assert (_row(cloud, "n1").version, _row(cloud, "n1").database) == (NEW, "synced")
    _reports(cloud, "n1", NEW)
    assert _row(cloud, "n1").database == "synced", "nobody has looked: what is known stays"
    assert _turn(cloud, Verb.SETTLE).step is RunStep.SETTLING
    assert _row(cloud, "n1").upgrade_to == ""
    assert _turn(cloud, Verb.RETURN).rebooted == ("n1",)
    told = [e.text for e in cloud.run(lambda tx: tx.events.where(kind="cluster.rolling"))]
    assert told[-1] == "rolling upgrade to 1.1.0, running: n1 because"


def test_said_again_it_is_the_run_that_is_under_way(cloud: Cloud) -> None:
    begun = _start(cloud)
    assert _start(cloud) == begun
    with pytest.raises(WrongState, match=r"a rolling upgrade to 1\.1\.0 is under way"):
        _start(cloud, version="1.2.0")
    with pytest.raises(WrongState, match=r"a rolling upgrade to 1\.1\.0 is under way"):
        cloud.run(lambda tx: start_rolling(tx, (), WHEN))


def test_what_was_stopped_goes_on_with_what_is_left(cloud: Cloud) -> None:
    _start(cloud)
    _through(cloud, "n1")
    _turn(cloud, Verb.DRAIN, "n2")
    _turn(cloud, Verb.UPGRADE, "n2")
    assert _turn(cloud, Verb.STOP, "n2").state is RunState.STOPPED
    row = _row(cloud, "n2")
    assert (row.upgrade_to, row.maintenance) == ("", True)
    with pytest.raises(WrongState, match=r"n2: is in maintenance already: .* name them to upgrade only those"):
        _start(cloud)
    cloud.run(lambda tx: return_node(tx, "n2", WHEN))
    assert _start(cloud).pending == ("n2", "n3")


def test_nothing_left_to_do_is_done_at_once_and_told_once(cloud: Cloud) -> None:
    for name in ("n1", "n2", "n3"):
        _reports(cloud, name, NEW)
    done = _start(cloud)
    assert (done.state, done.said) == (RunState.DONE, "all nodes run 1.1.0")
    assert _start(cloud) == done
    assert len(cloud.run(lambda tx: tx.events.where(kind="cluster.rolling"))) == 1


def test_three_versions_at_a_time_are_refused(cloud: Cloud) -> None:
    _reports(cloud, "n1", NEW)
    with pytest.raises(WrongState, match=r"the nodes run 1\.0\.0 and 1\.1\.0: finish the upgrade to one of them"):
        _start(cloud, version="1.2.0")
    assert _start(cloud).pending == ("n2", "n3")


def test_only_those_that_were_named(cloud: Cloud) -> None:
    plan = cloud.run(lambda tx: ask_upgrade(tx, NEW, ["n3"], WHEN))
    assert [s.node for s in plan.steps] == ["n3"]
    cloud.run(lambda tx: drain_node(tx, "n1", WHEN))
    assert _start(cloud, "n3").pending == ("n3",)


def test_an_operator_who_stops_it_waits_for_the_node_under_apt(cloud: Cloud) -> None:
    _start(cloud)
    _turn(cloud, Verb.DRAIN)
    _turn(cloud, Verb.UPGRADE)
    stopping = cloud.run(lambda tx: stop_rolling(tx, WHEN))
    assert (stopping.state, stopping.pending) == (RunState.STOPPING, ())
    assert "whose upgrade may have begun" in stopping.said
    assert _row(cloud, "n1").upgrade_to == NEW


def test_returning_the_node_takes_the_upgrade_back(cloud: Cloud) -> None:
    _start(cloud)
    _turn(cloud, Verb.DRAIN)
    _turn(cloud, Verb.UPGRADE)
    cloud.run(lambda tx: return_node(tx, "n1", WHEN))
    assert _row(cloud, "n1").upgrade_to == ""
