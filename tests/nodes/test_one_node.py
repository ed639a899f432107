"""The package on one real machine, before there is any cluster: what its installation changes at once."""

import json
from collections.abc import Iterator

import pytest

from app.lab.cloud import IMAGE
from app.lab.guest import build
from app.lab.paths import CACHE as GUESTS
from tests.nodes.bootable import bootable
from tests.nodes.cluster import (
    CLOUD_IMAGE,
    CONFIG,
    TICK_SECONDS,
    apt_install,
    holdfast,
    rack_settings,
    take_unit_settings_back,
)
from tests.nodes.errors import NodeError
from tests.nodes.image import NodeImage
from tests.nodes.machine import Machine, until
from tests.nodes.rack import Rack
from tests.nodes.repository import Repository
from tests.nodes.resets import Resets
from tests.nodes.steps import Steps
from tests.nodes.traces import DATABASE, traces

pytestmark = [pytest.mark.nodes, pytest.mark.nodes_core, pytest.mark.timeout(900, func_only=True)]
LOCAL = "/srv/local"
_POOL = f"""
[[pools]]
name = "local"
driver = "file"
options = {{ path = "{LOCAL}" }}
"""
#: sysctl.conf of the package says 3
PANIC_SECONDS_MAX = 30


@pytest.fixture(scope="module")
def machine(rack: Rack, image: NodeImage, repository: Repository, steps: Steps) -> Iterator[Machine]:
    """A machine of its own, with the package on it."""
    made = Machine(rack, image, 4)
    try:
        with steps.step("one node boots"):
            made.power_on()
            made.wait_for_ssh()
        rack_settings(made)
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


def test_a_cluster_of_one_runs_a_vm(machine: Machine, repository: Repository, steps: Steps) -> None:
    """Corosync, the database, libvirt, agent and API as systemd's units; a nested guest under KVM boots from a disk."""
    bootable(build.image(GUESTS), machine.directory / CLOUD_IMAGE, TICK_SECONDS[IMAGE])
    url = repository.offer(machine.directory / CLOUD_IMAGE)
    with steps.step("holdfast cluster init on one node"):
        try:
            holdfast(machine, f"cluster init --address {machine.address}")
        except NodeError as error:
            raise NodeError(f"{error}\n{machine.ssh('journalctl -b -u mariadb --no-pager | tail -n 40')}") from error
    machine.ssh(f"mkdir -p {LOCAL}/images {LOCAL}/volumes && curl -sSfo {LOCAL}/images/{CLOUD_IMAGE} {url}")
    machine.ssh(f"cat >> {CONFIG} && systemctl restart holdfast-agent", stdin=_POOL.encode())
    token = json.loads(machine.ssh("cat /etc/holdfast/first-tokens.json"))["admin_token"]
    with steps.step("a VM is created and verified up on one node"):
        for words in (
            f"image add debian-12 --pool local --path {CLOUD_IMAGE} --disk-gib 1",
            "plan add small --cores 1 --memory-mib 128 --disk-gib 1",
            "vm create hello --plan small --image debian-12 --project default --wait",
        ):
            machine.ssh(f"HOLDFAST_TOKEN={token} holdfast {words}")
    assert machine.ssh("virsh list --state-running --name").split() != []
    machine.ssh(f"HOLDFAST_TOKEN={token} holdfast vm delete hello --project default --wait")
    until(lambda: machine.ssh("virsh list --all --name").split() == [], "the VM to be gone", 60)


def test_a_purge_leaves_nothing_behind(machine: Machine, steps: Steps) -> None:
    """No file, unit, user, process or socket, though it was a cluster. Only the state itself: nobody else has it."""
    assert len(traces(machine)) > 20
    take_unit_settings_back(machine)
    with steps.step("purge on one node"):
        machine.ssh("DEBIAN_FRONTEND=noninteractive apt-get purge -y -q holdfast", timeout_seconds=300)
    assert traces(machine) == [DATABASE]
