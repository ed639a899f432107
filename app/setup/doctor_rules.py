"""What is wrong with this node or its cluster, and what mends it: a pure function of what was seen.

Each check has a name that stays, so that it can be searched for and alerted on.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

DISK_FREE_MIN_SHARE = 0.1
CERTIFICATE_DAYS_MIN = 30
DISARMED_MAX = timedelta(hours=1)


@dataclass(frozen=True)
class Seen:
    """What was looked at. Defaults are those of a healthy node; None where there is nothing to look at.

    `modes`: secret file -> who else may read it. `fences`: node -> what its device complains about, empty for
    none. `ports`, `links`, `mtus`: what could not be reached. `disks`: directory -> free share.
    """

    now: datetime
    config_error: str = ""
    services: Mapping[str, bool] = field(default_factory=dict)
    clock_synchronized: bool = True
    watchdog_wanted: str = ""
    watchdogs: Mapping[str, str] = field(default_factory=dict)
    kernel_panic: int = 3
    fences: Mapping[str, str] = field(default_factory=dict)
    unprovable: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    mtus: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    disks: Mapping[str, float] = field(default_factory=dict)
    pools: tuple[str, ...] = ()
    heartbeat_error: str = ""
    heartbeats_still: tuple[str, ...] = ()
    paths_down: tuple[str, ...] = ()
    quorate: bool = True
    members_absent: tuple[str, ...] = ()
    database_error: str = ""
    database_in_sync: bool = True
    database_size: tuple[int, int] = (1, 1)
    database_port_held: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    libvirt_error: str = ""
    kvm: bool = True
    certificates: Mapping[str, float] = field(default_factory=dict)
    modes: Mapping[str, str] = field(default_factory=dict)
    memory_promised_mib: int = 0
    memory_mib: int = 1
    memory_overcommit: float = 1.0
    armed: bool = True
    disarmed_by: str = ""
    disarmed_at: datetime | None = None
    files_behind: bool = False
    layout_warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One fault: the check that found it, what is wrong, what to do. `urgent`: HA does not work as promised."""

    check: str
    wrong: str
    fix: str
    urgent: bool = True


Words = Iterator[tuple[str, str]]


def _config(s: Seen) -> Words:
    if s.config_error:
        yield (
            s.config_error,
            "correct /etc/holdfast/holdfast.toml, then `systemctl restart holdfast-agent holdfast-api`",
        )


def _services(s: Seen) -> Words:
    for unit, active in s.services.items():
        if not active:
            yield f"{unit} does not run", f"`systemctl status {unit}`, then `systemctl restart {unit}`"


def _clock(s: Seen) -> Words:
    if not s.clock_synchronized:
        yield "the clock is not synchronized", "apt install chrony, and let it reach its servers (UDP 123)"


def _watchdog(s: Seen) -> Words:
    if not s.watchdog_wanted:
        yield (
            "no watchdog is configured: nothing resets this node when it hangs, and time proves nothing about it",
            "set [watchdog] path, for example to /dev/watchdog0, and restart the agent",
        )
    elif s.watchdog_wanted not in s.watchdogs:
        there = ", ".join(f"{d} ({i})" for d, i in s.watchdogs.items()) or "none"
        yield (
            f"{s.watchdog_wanted} is not there; there is: {there}",
            "`modprobe softdog`, or name the device that is there in [watchdog] path",
        )


def _panic(s: Seen) -> Words:
    if s.kernel_panic <= 0:
        yield (
            "kernel.panic is 0: a node that panics stays hung, softdog stops with the kernel",
            "`sysctl kernel.panic=3`; see what overrides /usr/lib/sysctl.d/60-holdfast.conf",
        )


def _fences(s: Seen) -> Words:
    for node, complaint in s.fences.items():
        if complaint:
            yield (
                f"the fence device of {node}: {complaint}",
                "check its address, user and password in [[fence_devices]]",
            )


def _unprovable(s: Seen) -> Words:
    for node in s.unprovable:
        yield (
            f"{node} has neither a fence device nor a watchdog: its VMs could never be recovered",
            f"add a [[fence_devices]] for {node} on all nodes, or give it a watchdog",
        )


def _links(s: Seen) -> Words:
    for link in s.links:
        yield f"{link} does not answer", "check cable, switch and address of that link; corosync-cfgtool -s shows more"


def _mtu(s: Seen) -> Words:
    for link in s.mtus:
        yield f"{link} loses packets of the interface's full size", "set one MTU on both ends and on the switch between"


def _ports(s: Seen) -> Words:
    for port in s.ports:
        yield (
            f"{port} cannot be reached",
            "open it in the firewall between the nodes, and see that its service runs there",
        )


def _disks(s: Seen) -> Words:
    for place, free in s.disks.items():
        if free < DISK_FREE_MIN_SHARE:
            yield f"{place} has {free:.0%} free", "make room: QEMU and MariaDB stop when there is none"


def _pools(s: Seen) -> Words:
    for pool in s.pools:
        yield pool, "see that its storage is mounted and may be written"


def _heartbeat(s: Seen) -> Words:
    if s.heartbeat_error:
        yield s.heartbeat_error, "mount the pool that carries the heartbeat, and see that root may write there"
    for name in s.heartbeats_still:
        yield (
            f"{name} writes no heartbeat on the storage: it would not be kept if its network failed",
            f"on {name}: is its agent running, the pool mounted and writable, and `heartbeat = true` in its [[pools]]?",
        )


def _paths(s: Seen) -> Words:
    for path in s.paths_down:
        yield f"the storage path {path} is down", "`holdfast node paths` shows since when and why"


def _quorum(s: Seen) -> Words:
    if not s.quorate:
        yield (
            "this node is not quorate: it may run no VM on shared storage",
            "`corosync-quorumtool -s`; reach the others",
        )


def _members(s: Seen) -> Words:
    for name in s.members_absent:
        yield (
            f"{name} is not in Corosync's membership",
            f"start it; if it is gone for good: `holdfast cluster forget {name}`",
        )


def _database(s: Seen) -> Words:
    if s.database_port_held:
        yield (
            "mariadb.socket is enabled: systemd holds the database's port, and MariaDB cannot start",
            "`systemctl disable --now mariadb.socket`",
        )
    if s.database_error:
        yield f"no database answers: {s.database_error}", "`systemctl status mariadb` on the nodes that hold it"
    elif not s.database_in_sync:
        yield (
            "this node's member of the database is not in sync",
            "`journalctl -u mariadb`; a transfer may be under way",
        )
    elif s.database_size[0] < s.database_size[1]:
        yield (
            f"{s.database_size[0]} of {s.database_size[1]} members of the database are there",
            "`systemctl start mariadb` where it does not run",
        )


def _versions(s: Seen) -> Words:
    if len(set(s.versions.values())) > 1:
        found = ", ".join(f"{n} {v}" for n, v in sorted(s.versions.items()))
        yield (
            f"nodes have different versions: {found}",
            "`holdfast cluster upgrade VERSION` with the newest of them ends what was begun",
        )


def _libvirt(s: Seen) -> Words:
    if s.libvirt_error:
        yield f"libvirt does not answer: {s.libvirt_error}", "`systemctl restart libvirtd`; VMs run on meanwhile"


def _kvm(s: Seen) -> Words:
    if not s.kvm:
        yield "/dev/kvm is not there", "switch on virtualization in the firmware, and load kvm_intel or kvm_amd"


def _certificates(s: Seen) -> Words:
    for name, days in s.certificates.items():
        if days < CERTIFICATE_DAYS_MIN:
            when = "has ended" if days < 0 else f"ends in {days:.0f} days"
            yield (
                f"the certificate {name} {when}",
                "`holdfast cluster renew-certificates`: nothing is interrupted",
            )


def _secrets(s: Seen) -> Words:
    for path, who in s.modes.items():
        if who:
            yield f"{path} can be read by {who}", f"`chmod o-rwx,g-w {path}`, and think about who may have read it"


def _memory(s: Seen) -> Words:
    limit = s.memory_mib * s.memory_overcommit
    if s.memory_promised_mib > limit:
        yield (
            f"VMs here are promised {s.memory_promised_mib} MiB, the node has {limit:.0f} MiB for them",
            "move some away: the kernel kills one of them when they all take what they were promised",
        )


def _disarmed(s: Seen) -> Words:
    if not s.armed and (s.disarmed_at is None or s.now - s.disarmed_at > DISARMED_MAX):
        since = f" since {s.disarmed_at:%Y-%m-%d %H:%M %Z}" if s.disarmed_at else ""
        yield (
            f"the cluster is disarmed by {s.disarmed_by or 'somebody'}{since}: nothing is recovered",
            "`holdfast cluster arm`, when what it was disarmed for is over",
        )


def _files(s: Seen) -> Words:
    if s.files_behind:
        yield "this node's files are behind the cluster's layout", "see that holdfast-agent runs: it writes them"


def _layout(s: Seen) -> Words:
    for warning in s.layout_warnings:
        yield warning, "`holdfast cluster invite` lets another node in"


#: name -> what it says; those below `ADVICE` do not endanger a recovery now
CHECKS: dict[str, Callable[[Seen], Words]] = {
    "config": _config, "services": _services, "watchdog": _watchdog, "kernel-panic": _panic, "fence-devices": _fences,
    "no-proof": _unprovable, "links": _links, "ports": _ports, "disk-space": _disks, "pools": _pools,
    "quorum": _quorum, "members": _members, "database": _database, "libvirt": _libvirt, "kvm": _kvm,
    "certificates": _certificates, "secrets": _secrets, "disarmed": _disarmed, "clock": _clock, "mtu": _mtu,
    "heartbeat": _heartbeat, "storage-paths": _paths, "versions": _versions, "memory": _memory, "files": _files,
    "layout": _layout,
}  # fmt: skip
ADVICE = frozenset({"clock", "mtu", "heartbeat", "storage-paths", "versions", "memory", "files", "layout"})


def diagnose(seen: Seen) -> tuple[Finding, ...]:
    """All faults, in the order of the checks."""
    return tuple(
        Finding(name, wrong, fix, name not in ADVICE)
        for name, check in CHECKS.items()
        for wrong, fix in check(seen)
    )  # fmt: skip
