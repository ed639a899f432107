"""Who must not start yet: dependencies, best-effort VMs, the cluster's cap; and that no gate holds for ever."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain.actions import Report, StartVm
from app.domain.events import DesiredLoaded, DomainsListed
from app.domain.policy import HaClass, HaPolicy
from app.domain.start_gates import dependencies, held_starts
from app.domain.vm import Desired, PowerSeen, Vm
from tests.domain.make import seen, up, vm
from tests.domain.one_agent import NodeAgent, only

BEST = HaPolicy(ha_class=HaClass.BEST_EFFORT)


def _vm(vm_id: int, **other: Any) -> Vm:
    return vm(vm_id, incident_id=1, **other)


def _up(one: Vm) -> Vm:
    return replace(one, observed=up(one))


def _after(*vm_ids: int) -> HaPolicy:
    return HaPolicy(waits_for=vm_ids)


# -- dependencies


def test_a_vm_waits_for_what_is_still_to_come_up() -> None:
    web = vm(1, ha=_after(2))
    assert dependencies([web, _up(vm(3, ha=_after(4)))]) == (2,), "who is up waits for nobody"
    assert held_starts([web], [vm(2, "n2")], 0) == {1: "waits for vm2 to be up"}
    assert held_starts([web], [_up(vm(2, "n2"))], 0) == {}


@pytest.mark.parametrize(
    "other",
    [
        None,
        vm(2, desired=Desired.STOPPED),
        vm(2, desired=Desired.DELETED),
        vm(2, locked=True),
        vm(2, None),
        replace(vm(2), observed=seen(PowerSeen.FAILED, vm(2))),
    ],
    ids=["gone", "stopped", "deleted", "suspended", "unplaced", "given up"],
)
def test_who_does_not_come_up_is_not_waited_for(other: Vm | None) -> None:
    assert held_starts([vm(1, ha=_after(2))], [other] if other else [], 0) == {}


# -- best-effort


def test_best_effort_waits_for_the_guaranteed_of_its_recovery_only() -> None:
    play = _vm(1, ha=BEST)
    assert "guaranteed" in held_starts([play], [_vm(2, where="n2")], 0)[1]
    for other in (_up(_vm(2)), _vm(2, ha=BEST), vm(2, incident_id=7), replace(_vm(2), node=None)):
        assert held_starts([play], [other], 0) == {}
    assert held_starts([vm(1, ha=BEST)], [_vm(2)], 0) == {}, "an everyday start waits for nobody"


# -- the cap


def test_of_all_recovering_vms_so_many_start_those_that_have_begun_first_then_the_important() -> None:
    begun = replace(_vm(5, priority=1), observed=seen(PowerSeen.STARTING, vm(5)))
    others = [_vm(1), _vm(2, priority=90), _vm(3), begun]
    assert set(held_starts(others, [], 2)) == {1, 3}
    assert set(held_starts(others, [], 1)) == {1, 2, 3}
    assert held_starts(others, [], 0) == {}
    assert set(held_starts([_vm(4)], [_up(v) for v in others], 1)) == set()


def test_every_agent_counts_the_same() -> None:
    vms = [_vm(i, where=f"n{i % 3 + 1}", priority=i % 4) for i in range(1, 20)]
    held: set[int] = set()
    for name in ("n1", "n2", "n3"):
        mine = [v for v in vms if v.node == name]
        held |= set(held_starts(mine, [v for v in vms if v.node != name], 5))
    assert len(vms) - len(held) == 5


def test_who_waits_for_another_takes_no_place_of_the_cap() -> None:
    assert held_starts([_vm(1, priority=90, ha=_after(2)), _vm(2), _vm(3)], [], 1) == {
        1: "waits for vm2 to be up",
        3: "waits for one of the 1 starts that the cluster does at a time",
    }


def test_everyday_starts_are_not_capped() -> None:
    assert held_starts([vm(i) for i in range(1, 9)], [], 1) == {}


# -- the agent at a gate


def _gated(one: NodeAgent, now: float, gates: dict[int, str]) -> tuple[Any, ...]:
    one._asked(now)
    return one.step(now, DesiredLoaded(one.row, (vm(1),), now, gates=gates), DomainsListed(()))


def test_a_held_vm_starts_when_the_gate_opens_and_says_meanwhile_why_not() -> None:
    one = NodeAgent.quorate()
    actions = _gated(one, 1.0, {1: "waits for vm2 to be up"})
    assert not only(StartVm, actions)
    assert only(Report, actions)[0].seen[0].error == "waits for vm2 to be up"
    assert only(StartVm, _gated(one, 2.0, {}))


def test_no_gate_holds_for_ever() -> None:
    one = NodeAgent.quorate()
    _gated(one, 1.0, {1: "waits for vm2 to be up"})
    now, most = 1.0, one.settings.gate_seconds_max
    while not only(StartVm, _gated(one, now, {1: "waits for vm2 to be up"})):
        now += 1.0
        assert now < 10 * most
    assert most <= now - 1.0 < most + 2
