"""The lab itself: its daemons really form a cluster, its faults really happen, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.lab import galera, libvirt_daemon, network, power, processes
from app.lab.cluster import Lab
from app.lab.errors import LabError
from app.lab.paths import POOL_IN_NODE, WATCHDOG_IN_NODE
from app.lab.wait import wait_until
from tests.lab.conftest import LabFactory

pytestmark = pytest.mark.lab
BASE = ("corosync", "database", "libvirt")
WATCHDOG_SECONDS = 2.0


@pytest.fixture(scope="module")
def lab(new_lab: LabFactory) -> Lab:
    lab = new_lab("b")
    lab.up(services=BASE, watchdog_seconds=WATCHDOG_SECONDS)
    return lab


def _votes(lab: Lab, node: str) -> int:
    """Members that this node's corosync sees."""
    text = lab.run(node, ["corosync-quorumtool", "-s"]).stdout
    found = [line.split()[-1] for line in text.splitlines() if line.startswith("Total votes:")]
    return int(found[0]) if found else 0


def _fence(lab: Lab, inside: str, **options: str) -> subprocess.CompletedProcess[str]:
    """Run the fence agent inside a node, as that node's agent would."""
    text = "".join(f"{key}={value}\n" for key, value in {"labdir": str(lab.paths.directory), **options}.items())
    init = lab.init_process(inside)
    command = ["nsenter", f"--target={init.pid}", "--mount", "--net", "--uts", sys.executable]
    return subprocess.run(
        [*command, "-m", "app.lab.fence_agent"], input=text, capture_output=True, text=True, check=False, timeout=60
    )


def _back_in(lab: Lab, node: str) -> None:
    lab.wait_for_database(node, 3)
    wait_until(lambda: all(_votes(lab, n) == 3 for n in lab.nodes), 30, "membership of three")
    here = lab.paths.node(node)
    wait_until(lambda: libvirt_daemon.answers(here), 30, f"libvirt on {node}")


def test_the_daemons_form_a_cluster(lab: Lab) -> None:
    wait_until(lambda: all(_votes(lab, node) == 3 for node in lab.nodes), 30, "membership of three")
    for node in lab.nodes:
        assert galera.status(lab.paths.node(node))["wsrep_cluster_size"] == "3"
        hostname = subprocess.run(
            ["virsh", "-q", "-c", libvirt_daemon.uri(lab.paths.node(node)), "hostname"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert hostname.stdout.strip() == node


def test_what_one_member_commits_the_others_read(lab: Lab) -> None:
    socket = ["mariadb", "--no-defaults", f"--socket={galera.SOCKET}", "-NBe"]
    made = lab.run(
        "n1", [*socket, "CREATE TABLE holdfast.probe (x INT PRIMARY KEY); INSERT INTO holdfast.probe VALUES (7)"]
    )
    assert made.returncode == 0, made.stderr
    query = "SET SESSION wsrep_sync_wait=1; SELECT x FROM holdfast.probe"
    assert lab.run("n3", [*socket, query]).stdout.split() == ["7"]
    assert lab.run("n2", [*socket, "DROP TABLE holdfast.probe"]).returncode == 0


def test_the_products_user_gets_in_by_socket_and_from_another_node(lab: Lab) -> None:
    login = ["mariadb", "--no-defaults", f"--user={galera.USER}", f"--password={lab.state.database_password}"]
    query = ["-NBe", "SELECT 1", galera.DATABASE]
    assert lab.run("n1", [*login, f"--socket={galera.SOCKET}", *query]).stdout.strip() == "1"
    assert lab.run("n1", [*login, "--host=10.77.0.13", *query]).stdout.strip() == "1"


def test_nodes_share_the_pool_and_nothing_else(lab: Lab) -> None:
    (lab.guest_image.parent / "probe").write_text("x")
    for node in lab.nodes:
        assert lab.run(node, ["cat", f"{POOL_IN_NODE}/images/probe"]).stdout == "x"
        assert lab.run(node, ["cat", "/proc/sys/kernel/hostname"]).stdout.strip() == node
    boot_ids = {lab.run(node, ["cat", "/proc/sys/kernel/random/boot_id"]).stdout for node in lab.nodes}
    assert len(boot_ids) == 3
    assert lab.run("n1", ["touch", "/var/lib/holdfast/mine"]).returncode == 0
    assert lab.run("n2", ["test", "-e", "/var/lib/holdfast/mine"]).returncode == 1
    assert not Path("/var/lib/holdfast/mine").exists()


def test_storage_traffic_follows_the_clients_route(lab: Lab) -> None:
    ping = ["busybox", "ping", "-q", "-c", "2", "-W", "1", network.STORAGE_SERVICE_ADDRESS]
    assert lab.run("n2", ping).returncode == 0
    lab.cut("n2", ["ib0"])
    assert lab.run("n2", ["cat", "/sys/class/net/ib0/carrier"]).stdout.strip() == "0"
    assert lab.run("n2", ping).returncode == 0, "carrier gone: the second route is taken at both ends"
    lab.heal("n2", ["ib0"])
    lab.cut("n2", ["ib0"], silent=True)
    assert lab.run("n2", ["cat", "/sys/class/net/ib0/carrier"]).stdout.strip() == "1"
    assert lab.run("n2", ping).returncode == 1, "nothing but a probe can see a silent cut"
    assert lab.run("n2", ["ip", "route", "del", "10.99.0.1", "dev", "ib0"]).returncode == 0
    assert lab.run("n2", ping).returncode == 0
    route = ["10.99.0.1", "via", "10.98.1.1", "dev", "ib0", "src", "10.99.1.12", "metric", "10"]
    assert lab.run("n2", ["ip", "route", "add", *route]).returncode == 0
    lab.heal("n2", ["ib0"])
    assert lab.run("n2", ping).returncode == 0


def test_kill_and_power_on(lab: Lab) -> None:
    before = lab.run("n2", ["cat", "/proc/sys/kernel/random/boot_id"]).stdout
    lab.kill("n2")
    assert power.is_off(lab.paths, "n2")
    assert processes.in_network_namespace(lab.state.node("n2").namespace_inode) == []
    assert lab.run("n1", ["busybox", "ping", "-q", "-c", "1", "-W", "1", "10.77.0.12"]).returncode == 1
    wait_until(lambda: _votes(lab, "n1") == 2, 20, "n1 to see the loss")
    with pytest.raises(LabError, match="n2 is off"):
        lab.run("n2", ["true"])
    lab.power_on("n2")
    _back_in(lab, "n2")
    assert lab.run("n2", ["cat", "/proc/sys/kernel/random/boot_id"]).stdout != before
    assert [e["event"] for e in lab.events()][-3:] == ["power-off", "power-is-off", "power-on"]


def test_freeze_and_thaw(lab: Lab) -> None:
    lab.freeze("n3")
    pids = processes.in_network_namespace(lab.state.node("n3").namespace_inode)
    assert pids
    assert {Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in pids} == {"T"}
    wait_until(lambda: _votes(lab, "n1") == 2, 20, "n1 to see the loss")
    lab.thaw("n3")
    _back_in(lab, "n3")


def test_cut_and_heal_the_whole_network(lab: Lab) -> None:
    lab.cut("n1")
    wait_until(lambda: _votes(lab, "n1") == 1 and _votes(lab, "n2") == 2, 20, "both sides to see the cut")
    lab.heal("n1")
    _back_in(lab, "n1")


def test_the_database_killed_and_started_again(lab: Lab) -> None:
    lab.kill_database("n2")
    assert galera.status(lab.paths.node("n2")) == {}
    lab.wait_for_database("n1", 2)
    lab.start_database("n2")
    lab.wait_for_database("n2", 3)


def test_a_watchdog_that_was_never_opened_does_nothing_and_v_disarms(lab: Lab) -> None:
    fifo = lab.path("n1", WATCHDOG_IN_NODE)
    with fifo.open("wb", buffering=0) as feed:
        feed.write(b"1")
        feed.write(b"V")
    time.sleep(WATCHDOG_SECONDS + 1)  # the claim is that nothing happens in this time
    assert [n["power"] for n in lab.status()["nodes"]] == ["on", "on", "on"]


def test_a_watchdog_that_is_not_fed_cuts_the_power(lab: Lab) -> None:
    fifo = lab.path("n2", WATCHDOG_IN_NODE)
    with fifo.open("wb", buffering=0) as feed:
        for _ in range(6):
            feed.write(b"1")
            time.sleep(WATCHDOG_SECONDS / 3)
        assert not power.is_off(lab.paths, "n2"), "it was fed all the time"
        fed = time.monotonic()
        feed.write(b"1")

    # The event is told last: who waits only for the power to be off may read of an older cut.
    def cuts() -> list[dict[str, Any]]:
        return [e for e in lab.events() if e["event"] == "power-is-off" and e["monotonic_seconds"] > fed]

    wait_until(lambda: bool(cuts()), 20, "the watchdog to cut n2's power")
    expired = cuts()[-1]
    assert power.is_off(lab.paths, "n2")
    assert expired["by"] == "watchdog"
    assert WATCHDOG_SECONDS <= expired["monotonic_seconds"] - fed < WATCHDOG_SECONDS + 2
    lab.power_on("n2")
    _back_in(lab, "n2")


def test_the_fence_agent_from_inside_a_node(lab: Lab) -> None:
    assert _fence(lab, "n1", action="metadata").returncode == 0
    assert _fence(lab, "n1", action="monitor").returncode == 0
    assert _fence(lab, "n1", action="list").stdout.split()[2] == "n3,10.77.0.13"
    assert _fence(lab, "n1", action="status", port="n3").returncode == 0
    lab.set_fence_failing("n3", failures=1)
    failed = _fence(lab, "n1", action="off", port="n3")
    assert (failed.returncode, power.is_off(lab.paths, "n3")) == (1, False)
    assert "n3" in failed.stderr
    lab.cut("n1")  # a BMC has a network of its own
    done = _fence(lab, "n1", action="off", plug="n3")
    assert (done.returncode, done.stderr) == (0, "")
    assert processes.in_network_namespace(lab.state.node("n3").namespace_inode) == []
    assert _fence(lab, "n1", action="status", port="n3").returncode == 2
    lab.heal("n1")
    assert _fence(lab, "n1", action="on", port="n3").returncode == 0
    assert _fence(lab, "n1", action="status", port="n3").returncode == 0
    _back_in(lab, "n3")
    assert _fence(lab, "n1", action="off", port="n9").returncode == 1
    assert _fence(lab, "n1", action="dance", port="n3").returncode == 1


def test_another_process_can_act_on_the_lab(lab: Lab) -> None:
    command = [sys.executable, "-m", "app.cli.main", "lab"]
    report = subprocess.run(
        [*command, "status", "--json", "--name", lab.name], capture_output=True, text=True, check=True
    )
    assert [node["name"] for node in json.loads(report.stdout)["nodes"]] == ["n1", "n2", "n3"]


def test_down_leaves_nothing(new_lab: LabFactory) -> None:
    mounts = Path("/proc/mounts").read_text()
    lab = new_lab("d")
    lab.up(nodes=1, services=("corosync", "libvirt"))
    inodes = [network.namespace_inode(name) for name in network.existing_namespaces(lab.name)]
    assert len(inodes) == 3
    lab.kill("n1")
    lab.power_on("n1")
    lab.down()
    assert network.existing_namespaces(lab.name) == []
    assert [pid for inode in inodes for pid in processes.in_network_namespace(inode)] == []
    assert processes.marked(lab.paths.directory) == []
    assert not os.path.lexists(lab.paths.directory)
    assert [line for line in Path("/proc/mounts").read_text().splitlines() if line not in mounts] == []


def test_two_labs_at_once_and_a_second_up_is_refused(lab: Lab, new_lab: LabFactory) -> None:
    other = new_lab("o")
    other.up(nodes=1, services=("corosync",))
    with pytest.raises(LabError, match="there already"):
        other.up(nodes=1, services=("corosync",))
    wait_until(lambda: _votes(other, "n1") == 1, 20, "the other lab's own membership")
    other.down()
    assert _votes(lab, "n1") == 3
