"""The steps that a first node and a joining one have in common: each writes one part's files and starts that part."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.adapters.cluster_files import places
from app.adapters.cluster_files.corosync_conf import corosync_conf
from app.adapters.cluster_files.galera_conf import galera_conf
from app.adapters.cluster_files.layout_json import layout_to_text
from app.adapters.cluster_files.node_config import WATCHDOG_SECONDS, node_config
from app.domain.layout import Layout, Member
from app.setup.errors import SetupFailed
from app.setup.machine import Machine

#: program -> Debian's package
PARTS = {
    "corosync": "corosync", "mariadbd": "mariadb-server", "rsync": "rsync", "stunnel4": "stunnel4",
    "libvirtd": "libvirt-daemon-system", "qemu-system-x86_64": "qemu-system-x86", "galera_new_cluster": "galera-4",
}  # fmt: skip
#: as the kernel's softdog names itself
SOFTDOG = "Software Watchdog"
_GALERA_LIBRARY = Path("/usr/lib/galera/libgalera_smm.so")
DATABASE_SOCKET = "mariadb.socket"
#: a state transfer of a large database takes its time
DATABASE_SECONDS = 600


def check_parts(machine: Machine) -> str:
    """All programs are installed."""
    missing = {package for program, package in PARTS.items() if not machine.has(program) and package != "galera-4"}
    if not machine.place(_GALERA_LIBRARY).exists():
        missing.add("galera-4")
    if missing:
        raise SetupFailed(f"packages are missing: apt install {' '.join(sorted(missing))}")
    return ""


def write_keys(machine: Machine, ca_pem: bytes, certificate: bytes, key: bytes) -> str:
    """The node's certificate where Holdfast, MariaDB, libvirt and QEMU look for it, each with its own reader."""
    machine.write(places.CA_CERTIFICATE, ca_pem, 0o644)
    machine.write(places.NODE_CERTIFICATE, certificate, 0o644)
    machine.write(places.NODE_KEY, key, 0o600)
    for directory, group, names in (
        (places.DATABASE_PKI, "mysql", ("ca.pem", "node.pem", "node.key")),
        (places.LIBVIRT_PKI / "qemu", "libvirt-qemu", ("ca-cert.pem", "server-cert.pem", "server-key.pem")),
        (places.LIBVIRT_PKI / "qemu", "libvirt-qemu", ("ca-cert.pem", "client-cert.pem", "client-key.pem")),
    ):
        for name, text, mode in zip(names, (ca_pem, certificate, key), (0o644, 0o644, 0o640), strict=True):
            machine.write(directory / name, text, mode, group)
    machine.write(places.LIBVIRT_PKI / "CA/cacert.pem", ca_pem, 0o644)
    for side in ("server", "client"):
        machine.write(places.LIBVIRT_PKI / f"libvirt/{side}cert.pem", certificate, 0o644)
        machine.write(places.LIBVIRT_PKI / f"libvirt/private/{side}key.pem", key, 0o600)
    # By this a purge of the package knows that the keys are its own.
    machine.write(places.LIBVIRT_PKI / ".holdfast", "made by holdfast\n")
    return ""


def choose_watchdog(machine: Machine) -> str:
    """The device to arm: hardware where there is some, else softdog. Empty where the kernel has none."""

    def devices() -> dict[str, str]:
        found = sorted(machine.place(Path("/sys/class/watchdog")).glob("watchdog*/identity"))
        return {f"/dev/{f.parent.name}": f.read_text(encoding="ascii", errors="replace").strip() for f in found}

    hardware = [device for device, identity in devices().items() if identity != SOFTDOG]
    if hardware:
        return hardware[0]
    machine.write(places.MODULES, "softdog\n")
    machine.write(places.MODULE_OPTIONS, f"options softdog soft_margin={WATCHDOG_SECONDS}\n")
    machine.succeeds("modprobe", "softdog")
    return next(iter(devices()), "")


#: Addresses must be there before a daemon binds to them, and one that died must not stay dead. The agent can do nothing
#: without these two, so on a busy node they come as early as it does: with less weight than the agent, a starved
#: database was dropped by its cluster while the agent asked it in vain.
_UNIT = (
    "[Unit]\nWants=network-online.target\nAfter=network-online.target\n\n"
    "[Service]\nRestart=on-failure\nRestartSec=2\nCPUWeight=1000\n"
)


def _settle(machine: Machine, unit: Path, service: str) -> None:
    """Started at each boot, by that unit.

    To read all units anew takes a slow machine seconds, and `enable` does it up to three times, where a service has an
    init script, too: it is asked for only where the package's installation did not do it.
    """
    new = machine.write(unit, _UNIT)
    if not machine.succeeds("systemctl", "--quiet", "is-enabled", service):
        machine.run("systemctl", "enable", service)
    elif new or str(unit) not in machine.answer("systemctl", "show", "--property=DropInPaths", service):
        machine.run("systemctl", "daemon-reload")


def start_corosync(machine: Machine, layout: Layout, key: bytes) -> str:
    """Corosync on this layout. It is restarted only when its key is new: members that come and go need no restart."""
    _settle(machine, places.COROSYNC_UNIT, "corosync")
    new_key = machine.write(places.COROSYNC_KEY, key, 0o400)
    new_text = machine.write(places.COROSYNC, corosync_conf(layout), 0o644)
    if new_key or new_text or not machine.succeeds("systemctl", "--quiet", "is-active", "corosync"):
        machine.run("systemctl", "restart", "corosync")
    machine.wait(
        lambda: machine.succeeds("corosync-quorumtool", "-s"), "quorum", 60,
        "see `journalctl -u corosync`; the nodes must reach each other by UDP 5405 on every link",
    )  # fmt: skip
    return f"{len(layout.members)} members"


def start_database(machine: Machine, layout: Layout, own: Member, *, first: bool) -> str:
    """The node's member of the database, in sync with the others; none on a node that only uses it."""
    # Debian's 10.11.18 has systemd hold port 3306 from the boot on: MariaDB cannot look for its place in Galera's
    # history behind that, and does not start.
    machine.succeeds("systemctl", "--no-reload", "disable", "--now", DATABASE_SOCKET)
    if not own.database:
        machine.succeeds("systemctl", "disable", "--now", "mariadb")
        return "uses the others'"
    _settle(machine, places.DATABASE_UNIT, "mariadb")
    changed = machine.write(places.GALERA, galera_conf(layout, own), 0o644)
    if changed or not _in_sync(machine):
        machine.run("systemctl", "stop", "mariadb")
        if first:
            machine.run("galera_new_cluster")
        else:
            # One that does not find the others at once ends; its unit starts it again (_UNIT), and we wait for that.
            machine.succeeds("systemctl", "start", "mariadb")
    machine.wait(
        lambda: _in_sync(machine), "a database in sync", DATABASE_SECONDS,
        "see `journalctl -u mariadb`; the nodes must reach each other by TCP 4567, 4568 and 4444",
    )  # fmt: skip
    return "in sync"


def _in_sync(machine: Machine) -> bool:
    ask = "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_local_state'"
    return machine.answer("mariadb", "-NBe", ask).strip() == "4"


def make_database_user(machine: Machine, password: str) -> str:
    """The database and its user: by socket here, by TLS from other nodes."""
    if set(password) - set("0123456789abcdef"):
        raise SetupFailed("the database's password is none that was made here: remove the file and try again")
    statements = ["CREATE DATABASE IF NOT EXISTS holdfast CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;"]
    for host, require in (("localhost", "NONE"), ("%", "SSL")):
        user = f"holdfast@'{host}'"
        statements += [
            f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{password}';",
            f"ALTER USER {user} IDENTIFIED BY '{password}' REQUIRE {require};",
            f"GRANT ALL ON holdfast.* TO {user};",
        ]
    machine.run("mariadb", given="\n".join(statements).encode())
    return ""


def start_libvirt(machine: Machine) -> str:
    """libvirt, and its TLS port for migrations. Its VMs run on while it is started again."""
    if not machine.succeeds("systemctl", "--quiet", "is-active", "libvirtd-tls.socket"):
        # The socket of a service that runs cannot be started.
        machine.run("systemctl", "stop", "libvirtd.service")
    machine.run("systemctl", "--no-reload", "enable", "--now", "libvirtd-tls.socket", "libvirtd.service")
    return "migration by TLS"


def write_config(
    machine: Machine, layout: Layout, own: Member, password: str, shared: Mapping[str, Any] | None = None
) -> str:
    """The node's own files; one that is there stays as its operator left it."""
    machine.write(places.DATABASE_PASSWORD, password + "\n", 0o640, "holdfast")
    machine.write(places.LAYOUT, layout_to_text(layout), 0o644)
    watchdog = choose_watchdog(machine)
    if machine.read(places.CONFIG) is None:
        machine.write(places.CONFIG, node_config(own, watchdog, shared), 0o640, "holdfast")
    return f"watchdog {watchdog}" if watchdog else "no watchdog: only fence devices can prove this node dead"


def start_holdfast(machine: Machine) -> str:
    """The agent and the API, with the present configuration."""
    machine.run("systemctl", "--no-reload", "enable", "holdfast-agent", "holdfast-api", "holdfast-shutdown")
    machine.run("systemctl", "restart", "holdfast-agent", "holdfast-api")
    machine.run("systemctl", "start", "holdfast-shutdown")
    return ""


def kept_secret(machine: Machine, path: Path, size: int, *, mode: int = 0o600, group: str = "") -> bytes:
    """Random bytes in a file, as hexadecimal text; made once, so that a resumed set-up uses the same."""
    known = machine.read(path)
    if known is None:
        machine.write(path, secrets.token_hex(size) + "\n", mode, group)
        known = machine.read(path)
    assert known is not None
    return known.strip()
