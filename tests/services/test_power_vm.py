"""Power: what each command writes, when it is refused, and that switching on never makes a second copy."""

import pytest

from app.domain.errors import Conflict, Locked, NoCapacity, NotFound
from app.domain.node import Node, NodeState
from app.domain.records import ActionStatus, ApiAction
from app.domain.vm import ALLOWED, Command, Desired, Observed, PowerSeen, Status, StopMode, Vm, status_of
from app.services.delete_vm import delete_vm
from app.services.power_vm import COMMANDS, power_vm
from app.services.refusals import WrongState
from tests.domain.make import WHEN, node, spare
from tests.services.make_cloud import Cloud


def running(*nodes: Node) -> Cloud:
    cloud = Cloud(*nodes)
    cloud.create()
    cloud.see(PowerSeen.RUNNING)
    return cloud


def off(*nodes: Node) -> Cloud:
    """Switched off, and seen off after that."""
    cloud = running(*nodes)
    cloud.power(Command.POWEROFF)
    cloud.see(PowerSeen.OFF)
    return cloud


def delete(cloud: Cloud) -> ApiAction:
    return cloud.run(lambda tx: delete_vm(tx, 1, 1, WHEN))


# -- off


def test_poweroff_and_shutdown_differ_in_how() -> None:
    cloud = running()
    assert cloud.power(Command.SHUTDOWN).command == "shutdown_server"
    assert (cloud.vm().desired, cloud.vm().stop_mode) == (Desired.STOPPED, StopMode.ACPI)
    assert status_of(cloud.vm()) is Status.STOPPING
    assert cloud.power(Command.POWEROFF).status is ActionStatus.RUNNING
    assert cloud.vm().stop_mode is StopMode.HARD, "a guest that does not heed is cut short"


def test_switching_off_what_is_off_is_done_at_once() -> None:
    cloud = off()
    assert cloud.power(Command.POWEROFF).status is ActionStatus.SUCCESS


def test_switching_off_makes_the_start_that_it_overtakes_end() -> None:
    cloud = Cloud()
    cloud.create()
    cloud.power(Command.POWEROFF)
    assert cloud.actions(ActionStatus.ERROR) == ["create_server", "start_server"]
    assert cloud.actions(ActionStatus.RUNNING) == ["stop_server"]


def test_a_vm_that_waits_for_room_is_off_when_it_is_not_wanted_any_more() -> None:
    cloud = running()
    cloud.change(node=None, generation=2, unplaced_reason="no room")
    assert cloud.power(Command.POWEROFF).status is ActionStatus.SUCCESS
    assert (cloud.vm().desired, cloud.vm().unplaced_reason) == (Desired.STOPPED, "")


# -- on


def test_a_vm_that_runs_is_on_already() -> None:
    cloud = running()
    assert cloud.power(Command.POWERON).status is ActionStatus.SUCCESS
    assert (cloud.vm().generation, cloud.node("n1").placements) == (1, 1)


def test_a_vm_that_is_starting_is_followed_until_it_is_up() -> None:
    cloud = Cloud()
    cloud.create()
    assert cloud.power(Command.POWERON).status is ActionStatus.RUNNING
    assert cloud.vm().generation == 1


def test_it_stays_where_it_is_and_its_memory_is_promised_again() -> None:
    cloud = off()
    assert cloud.power(Command.POWERON).status is ActionStatus.RUNNING
    assert (cloud.vm().node, cloud.vm().desired) == ("n1", Desired.RUNNING)
    assert cloud.node("n1").placements == 2


def test_one_that_was_seen_off_gets_a_new_generation_also_where_it_stays() -> None:
    """A report that is on its way speaks of the old one, so it cannot say later that the VM is off."""
    cloud = off()
    cloud.power(Command.POWERON)
    assert (cloud.vm().node, cloud.vm().generation) == ("n1", 2)
    assert not cloud.vm().seen_current


def test_one_that_is_not_off_yet_goes_on_under_its_generation() -> None:
    cloud = running()
    cloud.power(Command.SHUTDOWN)
    cloud.power(Command.POWERON)
    assert (cloud.vm().node, cloud.vm().generation, cloud.vm().desired) == ("n1", 1, Desired.RUNNING)
    assert cloud.actions(ActionStatus.ERROR) == ["shutdown_server"]


@pytest.mark.parametrize("trouble", [{"maintenance": True}, {"memory_mib": 512}, {"state": NodeState.LOST}])
def test_one_that_was_seen_off_goes_elsewhere_when_its_node_cannot_take_it(trouble: dict[str, object]) -> None:
    cloud = off()
    cloud.change_node("n1", **trouble)
    cloud.power(Command.POWERON)
    assert (cloud.vm().node, cloud.vm().generation) == ("n2", 2)
    events = cloud.run(lambda tx: tx.events.where(kind="vm.placed"))
    assert [e.node for e in events] == ["n1", "n2"]


@pytest.mark.parametrize("seen", [PowerSeen.UNKNOWN, PowerSeen.RUNNING, PowerSeen.PAUSED, PowerSeen.STARTING])
def test_one_that_may_still_be_up_there_never_goes_elsewhere(seen: PowerSeen) -> None:
    cloud = running()
    cloud.power(Command.POWEROFF)
    cloud.see(seen)
    cloud.change_node("n1", maintenance=True)
    with pytest.raises(Conflict, match="still being stopped"):
        cloud.power(Command.POWERON)
    assert (cloud.vm().node, cloud.vm().generation, cloud.vm().desired) == ("n1", 1, Desired.STOPPED)


def test_what_was_seen_before_it_was_switched_off_does_not_count() -> None:
    """On, off, on: the node said "off" before it began to start it. It may be running there now."""
    cloud = off()
    cloud.power(Command.POWERON)
    cloud.see(PowerSeen.OFF)
    cloud.power(Command.POWEROFF)
    assert cloud.vm().observed.power is PowerSeen.UNKNOWN
    cloud.change_node("n1", maintenance=True)
    with pytest.raises(Conflict, match="try again"):
        cloud.power(Command.POWERON)
    cloud.see(PowerSeen.OFF)
    cloud.power(Command.POWERON)
    assert cloud.vm().node == "n2"


def test_the_recovery_moves_one_whose_node_is_lost_and_had_not_seen_it_off() -> None:
    cloud = running()
    cloud.power(Command.POWEROFF)
    cloud.change_node("n1", state=NodeState.LOST)
    assert cloud.power(Command.POWERON).status is ActionStatus.RUNNING
    assert (cloud.vm().node, cloud.vm().generation, cloud.vm().desired) == ("n1", 1, Desired.RUNNING)


def test_one_that_waits_for_room_is_left_to_the_coordinator() -> None:
    cloud = running()
    cloud.change(node=None, generation=2, unplaced_reason="no room")
    assert cloud.power(Command.POWERON).status is ActionStatus.RUNNING
    assert cloud.vm().node is None


def test_one_without_a_node_gets_one() -> None:
    cloud = Cloud()
    cloud.create(start=False)
    cloud.power(Command.POWERON)
    assert (cloud.vm().node, cloud.vm().generation) == ("n1", 1)


def test_no_room_anywhere_leaves_it_off() -> None:
    cloud = off(node("n1"))
    cloud.change_node("n1", memory_mib=512)
    before = cloud.vm()
    with pytest.raises(NoCapacity, match="n1: has 512 MiB of memory free"):
        cloud.power(Command.POWERON)
    assert cloud.vm() == before


def test_a_spare_that_took_it_in_a_recovery_is_left_when_it_is_off() -> None:
    cloud = off(node("n1"), spare("n2"))
    cloud.change(node="n2", generation=2, observed=Observed(PowerSeen.OFF, 2, "n2"))
    cloud.power(Command.POWERON)
    assert cloud.vm().node == "n1"


def test_a_new_try_forgets_where_it_failed_before() -> None:
    cloud = off()
    cloud.change(failed_nodes=("n1", "n2"))
    cloud.power(Command.POWERON)
    assert cloud.vm().failed_nodes == ()


# -- reset


def test_resets_are_counted() -> None:
    cloud = running()
    assert cloud.power(Command.RESET).command == "reset_server"
    assert cloud.power(Command.REBOOT).command == "reboot_server"
    assert (cloud.vm().resets_wanted, cloud.vm().reset_mode) == (2, StopMode.ACPI)


# -- delete


def test_delete_is_hard_and_final() -> None:
    cloud = running()
    action = delete(cloud)
    assert (action.command, action.status) == ("delete_server", ActionStatus.RUNNING)
    assert (cloud.vm().desired, cloud.vm().stop_mode) == (Desired.DELETED, StopMode.HARD)
    for command in COMMANDS:
        with pytest.raises(WrongState, match="is deleting"):
            cloud.power(command)


def test_delete_again_answers_with_the_same_action() -> None:
    cloud = running()
    assert delete(cloud) == delete(cloud)


# -- who may not, and when not


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_suspended_vm_obeys_nobody(command: Command) -> None:
    cloud = running()
    cloud.change(locked=True)
    before = cloud.vm()
    with pytest.raises(Locked, match="suspended"):
        cloud.power(command)
    with pytest.raises(Locked):
        delete(cloud)
    assert cloud.vm() == before


@pytest.mark.parametrize("command", list(COMMANDS))
def test_the_vm_of_another_project_does_not_exist(command: Command) -> None:
    cloud = running()
    with pytest.raises(NotFound) as theirs:
        cloud.run(lambda tx: power_vm(tx, 2, 1, command, WHEN))
    with pytest.raises(NotFound) as nobodys:
        cloud.run(lambda tx: power_vm(tx, 1, 77, command, WHEN))
    assert str(theirs.value).replace("1", "77") == str(nobodys.value)


def _in_status(status: Status) -> Cloud:
    cloud = running()
    vm = cloud.vm()
    changes: dict[Status, dict[str, object]] = {
        Status.INITIALIZING: {"observed": Observed()},
        Status.STARTING: {"observed": Observed(PowerSeen.STARTING, 1, "n1")},
        Status.PAUSED: {"observed": Observed(PowerSeen.PAUSED, 1, "n1")},
        Status.STOPPING: {"desired": Desired.STOPPED},
        Status.OFF: {"desired": Desired.STOPPED, "observed": Observed(PowerSeen.OFF, 1, "n1")},
        Status.RECOVERING: {"incident_id": 5, "generation": 2, "node": "n2"},
        Status.UNPLACED: {"node": None, "generation": 2},
        Status.DELETING: {"desired": Desired.DELETED},
    }
    cloud.change(vm.id, **changes.get(status, {}))
    assert status_of(cloud.vm()) is status
    return cloud


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("command", list(COMMANDS))
def test_the_table_decides(status: Status, command: Command) -> None:
    cloud = _in_status(status)
    before: Vm = cloud.vm()
    if status in ALLOWED[command]:
        assert cloud.power(command).command == COMMANDS[command]
    else:
        with pytest.raises(WrongState, match=f"is {status.value}"):
            cloud.power(command)
        assert cloud.vm() == before
