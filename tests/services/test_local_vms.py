"""VMs in a pool of one node alone: born to be kept, moved by nobody, and what their policy may say."""

from dataclasses import replace

import pytest

from app.domain.cluster import Incident, IncidentPhase
from app.domain.errors import Conflict, InvalidInput
from app.domain.node import NodeState
from app.domain.policy import HaPolicy, QuorumLoss
from app.domain.recovery import plan_recovery
from app.domain.vm import Command, Desired, PowerSeen
from app.ports.store import Transaction
from app.services.check_ha import check_ha
from app.services.commit_plan import commit_plan
from app.services.epoch import win_epoch
from app.services.load_view import load_view
from app.services.rejoin_node import rejoin_node
from app.services.set_vm_rules import set_vm_rules
from tests.domain.make import SEEN_OFF, WHEN
from tests.services.make_cloud import Cloud

LOCAL = frozenset({"shared"})  # the image's pool, said to be of one node alone


def _lost(cloud: Cloud) -> None:
    """The node of VM 1 is lost, proven, and planned."""

    def work(tx: Transaction) -> None:
        win_epoch(tx, "n2", WHEN)
        (row,) = tx.nodes.where(name="n1")
        tx.nodes.save(replace(row, state=NodeState.LOST))
        tx.incidents.add(Incident(0, "n1", IncidentPhase.PLANNING, WHEN, proof=SEEN_OFF))

    cloud.run(work)
    cloud.run(lambda tx: commit_plan(tx, 1, plan_recovery(load_view(tx), "n1"), WHEN))


def test_it_is_local_and_kept_from_its_creation_on() -> None:
    cloud = Cloud()
    assert cloud.create(local_pools=LOCAL).vm.local
    assert cloud.vm().ha.on_quorum_loss is QuorumLoss.KEEP
    shared = cloud.create("other").vm
    assert not shared.local
    assert shared.ha.on_quorum_loss is QuorumLoss.PAUSE


def test_it_waits_for_its_node_says_so_and_lets_it_rejoin() -> None:
    cloud = Cloud()
    cloud.create(local_pools=LOCAL)
    cloud.see(PowerSeen.RUNNING)
    before = cloud.vm()
    _lost(cloud)
    after = cloud.vm()
    assert (after.node, after.generation) == (before.node, before.generation)
    assert not after.verified
    assert "waits for that node" in after.unplaced_reason
    cloud.run(lambda tx: rejoin_node(tx, "n1", WHEN))
    cloud.see(PowerSeen.RUNNING)
    assert cloud.vm().verified
    assert cloud.vm().unplaced_reason == ""


def test_a_node_with_vms_that_do_not_wait_for_it_cannot_rejoin() -> None:
    cloud = Cloud()
    cloud.create()
    cloud.run(lambda tx: tx.nodes.save(replace(tx.nodes.where(name="n1")[0], state=NodeState.FENCED)))
    with pytest.raises(Conflict):
        cloud.run(lambda tx: rejoin_node(tx, "n1", WHEN))


def test_it_is_switched_on_where_its_disk_is_also_while_that_node_is_lost() -> None:
    cloud = Cloud()
    cloud.create(local_pools=LOCAL)
    cloud.see(PowerSeen.RUNNING)
    cloud.power(Command.POWEROFF)
    cloud.see(PowerSeen.OFF)
    _lost(cloud)
    assert (cloud.vm().node, cloud.vm().desired) == ("n1", Desired.STOPPED)
    cloud.power(Command.POWERON)
    assert (cloud.vm().node, cloud.vm().desired) == ("n1", Desired.RUNNING)


# -- what a policy may say


def _refused(cloud: Cloud, ha: HaPolicy, vm_id: int = 1) -> str:
    with pytest.raises(InvalidInput) as caught:
        cloud.run(lambda tx: check_ha(tx, cloud_vm(tx, vm_id), ha))
    return str(caught.value)


def cloud_vm(tx: Transaction, vm_id: int):  # type: ignore[no-untyped-def]
    return tx.vms.get(vm_id)


def test_keep_is_for_local_vms_only() -> None:
    cloud = Cloud()
    cloud.create()
    cloud.create("local", local_pools=LOCAL)
    keep = HaPolicy(on_quorum_loss=QuorumLoss.KEEP)
    assert "shared pool shared" in _refused(cloud, keep)
    cloud.run(lambda tx: check_ha(tx, cloud_vm(tx, 2), keep))


def test_dependencies_must_exist_and_not_go_round() -> None:
    cloud = Cloud()
    for name in ("a", "b", "c"):
        cloud.create(name)
    assert "there is no server 9" in _refused(cloud, HaPolicy(waits_for=(9,)))

    def waits(vm_id: int, *others: int) -> None:
        cloud.run(lambda tx: set_vm_rules(tx, vm_id, {"waits_for": others}, {}, None, WHEN))

    with pytest.raises(InvalidInput, match="none would ever start"):
        waits(1, 1)
    waits(2, 1)
    waits(3, 2)
    with pytest.raises(InvalidInput, match="none would ever start"):
        waits(1, 3)
    waits(3, 1, 2)


@pytest.mark.parametrize("name", ["guest_silence_seconds", "restart_hold_seconds"])
@pytest.mark.parametrize("value", [-1.0, 90_000.0, float("nan")])
def test_times_are_sane(name: str, value: float) -> None:
    cloud = Cloud()
    cloud.create()
    assert "from 0 (off) to 86400" in _refused(cloud, HaPolicy(**{name: value}))  # type: ignore[arg-type]
