"""A fault is planted in the picture of a healthy node: the doctor names that one, and how to mend it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.setup.doctor_rules import CHECKS, Seen, diagnose

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
HEALTHY = Seen(
    NOW,
    services={"holdfast-agent": True, "corosync": True},
    watchdog_wanted="/dev/watchdog0",
    watchdogs={"/dev/watchdog0": "iTCO_wdt"},
    fences={"n2": ""},
    disks={"/var/lib/mysql": 0.4},
    versions={"n1": "1.0", "n2": "1.0"},
    certificates={"node.pem": 400.0},
    modes={"/etc/holdfast/pki/ca.key": ""},
    memory_promised_mib=1024,
    memory_mib=1024,
)
PLANTED: dict[str, list[tuple[dict[str, Any], str]]] = {
    "config": [({"config_error": "holdfast.toml: node.id: too small"}, "node.id")],
    "services": [({"services": {"holdfast-agent": False}}, "holdfast-agent does not run")],
    "clock": [({"clock_synchronized": False}, "not synchronized")],
    "watchdog": [
        ({"watchdogs": {}}, "/dev/watchdog0 is not there; there is: none"),
        ({"watchdog_wanted": ""}, "no watchdog is configured"),
    ],
    "kernel-panic": [({"kernel_panic": 0}, "kernel.panic is 0")],
    "fence-devices": [({"fences": {"n2": "login failed"}}, "fence device of n2: login failed")],
    "no-proof": [({"unprovable": ("n3",)}, "n3 has neither")],
    "links": [({"links": ("n2 at 10.0.0.2",)}, "n2 at 10.0.0.2 does not answer")],
    "mtu": [({"mtus": ("n2 at 10.0.0.2",)}, "full size")],
    "ports": [({"ports": ("n2:4567",)}, "n2:4567")],
    "disk-space": [({"disks": {"/var/lib/mysql": 0.02}}, "2% free")],
    "pools": [({"pools": ("pool shared: Read-only file system",)}, "Read-only")],
    "heartbeat": [
        ({"heartbeat_error": "cannot read the beats: is it mounted?"}, "cannot read the beats"),
        ({"heartbeats_still": ("n3",)}, "n3 writes no heartbeat"),
    ],
    "storage-paths": [({"paths_down": ("ib0 to 10.99.0.1",)}, "ib0")],
    "quorum": [({"quorate": False}, "not quorate")],
    "members": [({"members_absent": ("n3",)}, "n3 is not in")],
    "database": [
        ({"database_error": "refused"}, "refused"),
        ({"database_in_sync": False}, "not in sync"),
        ({"database_size": (2, 3)}, "2 of 3"),
        ({"database_port_held": True}, "mariadb.socket is enabled"),
    ],
    "versions": [({"versions": {"n1": "1.0", "n2": "1.1"}}, "n1 1.0, n2 1.1")],
    "libvirt": [({"libvirt_error": "no socket"}, "no socket")],
    "kvm": [({"kvm": False}, "/dev/kvm")],
    "certificates": [
        ({"certificates": {"node.pem": 12.0}}, "ends in 12 days"),
        ({"certificates": {"node.pem": -1.0}}, "has ended"),
    ],
    "secrets": [({"modes": {"/etc/holdfast/pki/ca.key": "everybody"}}, "read by everybody")],
    "memory": [({"memory_promised_mib": 1025}, "1025 MiB")],
    "disarmed": [({"armed": False, "disarmed_by": "ann", "disarmed_at": NOW - timedelta(hours=2)}, "disarmed by ann")],
    "files": [({"files_behind": True}, "behind")],
    "layout": [({"layout_warnings": ("two nodes: no majority",)}, "no majority")],
}


def test_a_healthy_node_has_no_finding() -> None:
    assert diagnose(HEALTHY) == ()


def test_every_check_has_a_planted_fault() -> None:
    assert set(PLANTED) == set(CHECKS)


@pytest.mark.parametrize(
    ("check", "fault", "said"), [(c, f, s) for c, cases in PLANTED.items() for f, s in cases], ids=lambda v: str(v)[:30]
)
def test_the_planted_fault_is_found_and_nothing_else(check: str, fault: dict[str, Any], said: str) -> None:
    found = diagnose(replace(HEALTHY, **fault))
    assert [f.check for f in found] == [check]
    assert said in found[0].wrong
    assert len(found[0].fix) > 10


def test_a_fresh_disarm_is_meant() -> None:
    assert diagnose(replace(HEALTHY, armed=False, disarmed_at=NOW - timedelta(minutes=5))) == ()
