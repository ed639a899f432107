"""What is written when a VM ended by itself: once, with the reason, for operators and for billing."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.actions import VmSeen
from app.domain.policy import AfterEnd, HaPolicy
from app.domain.records import ClusterEvent, WebhookEndpoint
from app.domain.vm import Desired, PowerSeen
from app.services.report_observed import NodeFacts, report_observed
from tests.domain.make import WHEN, node
from tests.services.make_cloud import Cloud


@pytest.fixture
def cloud() -> Cloud:
    one = Cloud(node("n1"))
    one.run(lambda tx: tx.endpoints.add(WebhookEndpoint(0, "https://billing.example", "whsec_x")))
    one.create()
    one.see(PowerSeen.RUNNING)
    return one


def _report(cloud: Cloud, power: PowerSeen, **facts: Any) -> None:
    row = node("n1")
    own = NodeFacts(row.id, "n1", row.address, row.role, row.memory_mib, row.cores, "", 10.0, "boot")
    one = VmSeen(1, cloud.vm().generation, power, **facts)
    cloud.run(lambda tx: report_observed(tx, own, (one,), "ok", WHEN))


def _events(cloud: Cloud) -> list[ClusterEvent]:
    return [e for e in cloud.run(lambda tx: list(tx.events.where(vm_id=1))) if e.kind != "vm.placed"]


def _sent(cloud: Cloud) -> list[str]:
    return [m.kind for m in cloud.run(lambda tx: list(tx.outbox.where()))]


@pytest.mark.parametrize("ended", ["crashed", "panicked", "hung"])
def test_an_end_and_its_restart_are_told_once_with_the_reason(cloud: Cloud, ended: str) -> None:
    for _ in range(2):  # a repeated report says nothing new
        _report(cloud, PowerSeen.OFF, ended=ended, ends=1, ends_in_a_row=1)
    assert [e.kind for e in _events(cloud)] == [f"vm.{ended}"]
    assert "it is restarted (1 in a row)" in _events(cloud)[0].text
    assert cloud.vm().desired is Desired.RUNNING
    for _ in range(2):
        _report(cloud, PowerSeen.RUNNING, verified=True, ends=1, ends_in_a_row=1)
    assert [e.kind for e in _events(cloud)] == [f"vm.{ended}", "vm.restarted"]
    assert _sent(cloud) == ["vm.started", f"vm.{ended}", "vm.stopped", "vm.started", "vm.restarted"]


@pytest.mark.parametrize("ended", ["crashed", "panicked", "hung", "shutdown"])
def test_the_policy_stop_is_written_with_the_end(cloud: Cloud, ended: str) -> None:
    stop = AfterEnd.STOP
    cloud.change(ha=HaPolicy(on_crash=stop, on_panic=stop, on_hang=stop, on_guest_shutdown=stop))
    _report(cloud, PowerSeen.OFF, ended=ended, ends=1, ends_in_a_row=1)
    assert cloud.vm().desired is Desired.STOPPED
    assert "it stays off" in _events(cloud)[0].text


def test_a_vm_that_was_seen_hanging_is_not_verified(cloud: Cloud) -> None:
    assert cloud.vm().verified
    _report(cloud, PowerSeen.RUNNING, ended="hung", ends=1, ends_in_a_row=1)
    assert not cloud.vm().verified


def test_a_guest_that_answers_again_was_not_restarted(cloud: Cloud) -> None:
    _report(cloud, PowerSeen.RUNNING, ended="hung", ends=1, ends_in_a_row=1)
    _report(cloud, PowerSeen.RUNNING, verified=True, ends=1, ends_in_a_row=1)
    assert [e.kind for e in _events(cloud)] == ["vm.hung"]


def test_a_pause_for_an_io_error_is_told_and_keeps_the_vm_verified(cloud: Cloud) -> None:
    _report(cloud, PowerSeen.PAUSED, error="an I/O error of its disk")
    _report(cloud, PowerSeen.PAUSED, error="an I/O error of its disk")
    assert [e.kind for e in _events(cloud)] == ["vm.io_error"]
    assert "vm.io_error" in _sent(cloud)
    assert cloud.vm().observed.verified_at is not None


def test_after_long_trying_the_nodes_where_it_failed_are_forgiven(cloud: Cloud) -> None:
    cloud.change(failed_nodes=("n7",))
    _report(cloud, PowerSeen.FAILED, error="no memory")
    assert cloud.vm().failed_nodes == ("n7",)
    _report(cloud, PowerSeen.FAILED, error="no memory", tried_long=True)
    assert cloud.vm().failed_nodes == ()


def test_a_report_about_an_old_placement_changes_nothing(cloud: Cloud) -> None:
    cloud.change(generation=2)
    old = replace(cloud.vm(), generation=1)
    one = VmSeen(1, old.generation, PowerSeen.OFF, ended="crashed", ends=1, ends_in_a_row=1)
    row = node("n1")
    own = NodeFacts(row.id, "n1", row.address, row.role, row.memory_mib, row.cores, "", 10.0, "boot")
    cloud.run(lambda tx: report_observed(tx, own, (one,), "ok", WHEN))
    assert _events(cloud) == []
