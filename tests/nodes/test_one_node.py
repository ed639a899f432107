"""The package on one real machine, before there is any cluster: what its installation changes at once."""

from collections.abc import Iterator

import pytest

from tests.nodes.cluster import apt_install
from tests.nodes.image import node_image
from tests.nodes.machine import Machine
from tests.nodes.rack import Rack
from tests.nodes.repository import Repository
from tests.nodes.resets import Resets
from tests.nodes.steps import Steps

pytestmark = [pytest.mark.nodes, pytest.mark.timeout(900)]
#: sysctl.conf of the package says 3
PANIC_SECONDS_MAX = 30


@pytest.fixture(scope="module")
def machine(rack: Rack, repository: Repository, steps: Steps) -> Iterator[Machine]:
    """A machine of its own, with the package on it."""
    made = Machine(rack, node_image(), 4)
    try:
        with steps.step("one node boots"):
            made.power_on()
            made.wait_for_ssh()
        repository.teach(made)
        with steps.step("apt install on one node"):
            apt_install(made, "holdfast")
        yield made
    finally:
        made.power_off()


def test_nothing_runs_before_there_is_a_cluster(machine: Machine) -> None:
    """Enabled, but without a configuration not started; and the command says what to do."""
    for unit in ("holdfast-agent", "holdfast-api"):
        assert machine.ssh(f"systemctl is-enabled {unit}").strip() == "enabled"
        assert machine.ssh(f"systemctl is-active {unit}", check=False).strip() == "inactive"


def test_a_panic_ends_in_a_reset_from_the_installation_on(machine: Machine, steps: Steps) -> None:
    """Not only from the next boot on: softdog stops with the kernel, so the kernel must reset itself."""
    assert machine.ssh("sysctl -n kernel.panic kernel.panic_on_oops").split() == ["3", "1"]
    booted = machine.boot_id
    with Resets(machine) as resets, steps.step("a kernel that panicked is reset"):
        # What apt wrote is on the disk: what a crash may lose of it is not the question here.
        machine.ssh("sync; (sleep 5; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &")
        resets.wait(PANIC_SECONDS_MAX)
    machine.wait_for_ssh()
    assert machine.boot_id != booted


def test_a_purge_leaves_nothing_behind(machine: Machine) -> None:
    """No file, unit, user or process."""
    machine.ssh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -q holdfast", timeout_seconds=300)
    left = "find /etc /usr /var/lib/holdfast /var/log /run -xdev -iname '*holdfast*' -not -path '*/apt/*' 2>/dev/null"
    assert machine.ssh(left, check=False).split() == []
    assert machine.ssh("getent passwd holdfast; systemctl list-unit-files --no-legend 'holdfast*'", check=False) == ""
    assert machine.ssh("ps -eo args | grep -i '[h]oldfast'", check=False) == ""
