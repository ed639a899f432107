"""Look at this node and at the others, so that the doctor's rules have something to judge. Nothing is changed."""

import grp
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx

from app.adapters.cluster_files import pki, places
from app.adapters.cluster_files.layout_json import MalformedLayout, layout_from_text
from app.adapters.fencing.run_agent import run_agent
from app.adapters.system.health import DiskCheck, pool_directories
from app.config import Config, ConfigError, load_config
from app.domain.layout import Layout, Member
from app.ports.store import StoreUnavailable, Transaction
from app.setup.doctor_heartbeat import look_at_beats
from app.setup.doctor_rules import Seen
from app.setup.machine import Machine
from app.setup.members import present, warnings
from app.setup.node_parts import DATABASE_SOCKET
from app.setup.parts import build_heartbeat, build_store

SERVICES = ("corosync", "libvirtd", "holdfast-agent", "holdfast-api")
#: what members must reach of each other by TCP; the database's on nodes that hold it
PORTS, DATABASE_PORTS = (8470, 16514), (3306, 4567)
CONNECT_SECONDS = 2.0
FENCE_SECONDS = 10.0
_IP_AND_ICMP_BYTES = 28
_SECRETS = (
    places.CA_KEY, places.NODE_KEY, places.COROSYNC_KEY, places.DATABASE_PASSWORD, places.FIRST_TOKENS, places.CONFIG,
)  # fmt: skip


def look(machine: Machine) -> Seen:
    """All that can be seen from here. A part that cannot be asked is a fact of its own, never an error."""
    seen = look_at_node(machine)
    try:
        config = load_config(machine.place(places.CONFIG))
    except ConfigError as error:
        return replace(seen, config_error=str(error))
    seen = replace(seen, **_by_config(machine, config))
    layout = _layout(machine)
    if layout is None:
        return replace(seen, **_state(config, None))
    seen = replace(seen, **_state(config, layout))
    seen = replace(seen, **_membership(config, layout), **_galera(machine, config, layout))
    return replace(seen, **_network(machine, config, layout))


def look_at_node(machine: Machine) -> Seen:
    """What needs no configuration."""
    panic = machine.read(Path("/proc/sys/kernel/panic"))
    devices = sorted(machine.place(Path("/sys/class/watchdog")).glob("watchdog*/identity"))
    now = datetime.now(UTC)
    pems = {p: machine.read(p) for p in (places.CA_CERTIFICATE, places.NODE_CERTIFICATE)}
    disks = {str(p): machine.place(p) for p in (Path("/var/lib/holdfast"), Path("/var/lib/mysql"), Path("/var/log"))}
    return Seen(
        now,
        services={u: machine.succeeds("systemctl", "--quiet", "is-active", u) for u in SERVICES},
        database_port_held=machine.answer("systemctl", "is-enabled", DATABASE_SOCKET).strip() == "enabled",
        clock_synchronized=_clock(machine),
        watchdogs={f"/dev/{d.parent.name}": d.read_text(encoding="ascii").strip() for d in devices},
        kernel_panic=int(panic or b"0"),
        disks={name: _free_share(p) for name, p in disks.items() if p.is_dir()},
        certificates={p.name: pki.days_left(pem, now) for p, pem in pems.items() if pem},
        modes={str(p): who for p in _SECRETS if (who := who_reads(machine.place(p))) is not None},
    )


def who_reads(path: Path) -> str | None:
    """Who but root and the API's group may read or change it, empty for nobody; None where there is no file."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    if facts.st_mode & stat.S_IRWXO:
        return "everybody"
    if not facts.st_mode & stat.S_IRWXG:
        return ""
    try:
        group = grp.getgrgid(facts.st_gid).gr_name
    except KeyError:
        group = str(facts.st_gid)
    return "" if group in ("root", "holdfast") and not facts.st_mode & stat.S_IWGRP else f"the group {group}"


def _clock(machine: Machine) -> bool:
    argv = ("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return machine.succeeds(*argv) and machine.run(*argv).strip() == "yes"


def _free_share(path: Path) -> float:
    usage = shutil.disk_usage(path)
    return usage.free / usage.total


def _layout(machine: Machine) -> Layout | None:
    text = machine.read(places.LAYOUT)
    try:
        return layout_from_text(text.decode()) if text else None
    except MalformedLayout:
        return None


def _by_config(machine: Machine, config: Config) -> dict[str, Any]:
    pools, holding = pool_directories((p.name, p.driver, p.options) for p in config.pools)
    libvirt_socket = machine.place(Path("/run/libvirt/libvirt-sock"))
    return {
        "watchdog_wanted": config.watchdog.path,
        "fences": {d.node: fence_complaint(d.command, d.options) for d in config.fence_devices},
        "pools": DiskCheck({name: machine.place(path) for name, path in pools.items()}, holding)(),
        "libvirt_error": _refusal(libvirt_socket),
        "kvm": config.libvirt.domain_type != "kvm" or machine.place(Path("/dev/kvm")).exists(),
    }


def fence_complaint(command: tuple[str, ...], options: Mapping[str, str]) -> str:
    """Ask the device how it is, as fence agents are asked: `monitor` changes nothing. Empty when it is well."""
    done = run_agent(command, {**options, "action": "monitor"}, FENCE_SECONDS)
    return "" if done.exit_code == 0 else done.why


def _refusal(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(CONNECT_SECONDS)
        try:
            plain.connect(str(path))
        except OSError as error:
            return f"{path}: {error.strerror or error}"
    return ""


def _state(config: Config, layout: Layout | None) -> dict[str, Any]:
    def read(tx: Transaction) -> dict[str, Any]:
        settings = tx.settings.where()
        nodes = tx.nodes.where()
        vms = tx.vms.where(node=config.node.name)
        newest = max((row.version for row in tx.layouts.where()), default=0)
        found: dict[str, Any] = {
            "paths_down": tuple(f"{p.name} to {p.target}" for p in tx.paths.where(node=config.node.name) if not p.up),
            "memory_promised_mib": sum(v.memory_mib for v in vms),
            "memory_mib": next((n.memory_mib for n in nodes if n.name == config.node.name), 1 << 40),
            "files_behind": layout is not None and layout.version < newest,
            "unprovable": tuple(
                n.name for n in nodes
                if n.watchdog_seconds is None and n.name not in {d.node for d in config.fence_devices}
            ) if len(nodes) > 1 else (),
        }  # fmt: skip
        for row in settings:
            found |= {"armed": row.armed, "disarmed_by": row.disarmed_by, "disarmed_at": row.disarmed_at,
                      "memory_overcommit": row.memory_overcommit}  # fmt: skip
        return found

    store = build_store(config)
    try:
        return store.run(read)
    except StoreUnavailable as error:
        return {"database_error": str(error) or "no answer"}
    finally:
        store.close()


def _membership(config: Config, layout: Layout) -> dict[str, Any]:
    seen = present(config)
    here = seen.members if seen else frozenset()
    heartbeat = build_heartbeat(config)
    return {
        **(look_at_beats(heartbeat, here) if heartbeat is not None else {}),
        "quorate": bool(seen and seen.quorate),
        "members_absent": tuple(m.name for m in layout.members if m.name not in here),
        "layout_warnings": warnings(layout),
    }


def _galera(machine: Machine, config: Config, layout: Layout) -> dict[str, Any]:
    own = layout.member(config.node.name)
    if own is None or not own.database:
        return {}

    def ask(name: str) -> str:
        return machine.answer("mariadb", "-NBe", f"SHOW GLOBAL STATUS LIKE '{name}'").partition("\t")[2].strip()

    size = ask("wsrep_cluster_size")
    return {
        "database_in_sync": ask("wsrep_local_state") == "4",
        "database_size": (int(size) if size.isdecimal() else 0, len(layout.database_members)),
    }


def _network(machine: Machine, config: Config, layout: Layout) -> dict[str, Any]:
    others = [m for m in layout.members if m.name != config.node.name]
    pings, mtus, ports, versions = [], [], [], {config.node.name: own_version()}
    for other in others:
        for address in other.addresses:
            where = f"{other.name} at {address}"
            if not machine.succeeds("ping", "-c", "1", "-W", "2", address):
                pings.append(where)
            elif not machine.succeeds("ping", "-c", "1", "-W", "2", "-M", "do", "-s", str(_payload(address)), address):
                mtus.append(where)
        ports += [f"{other.name}:{port}" for port in _ports(other) if not reaches(other.addresses[0], port)]
        if theirs := version_of(other.addresses[0]):
            versions[other.name] = theirs
    return {"links": tuple(pings), "mtus": tuple(mtus), "ports": tuple(ports), "versions": versions}


def _payload(address: str) -> int:
    """What fills one packet on the interface towards that address."""
    return max((mtu for mtu in _mtu_towards(address)), default=1500) - _IP_AND_ICMP_BYTES


def _mtu_towards(address: str) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as plain:
        try:
            plain.connect((address, 9))  # sends nothing: the kernel looks up the route
            # linux/in.h: IP_MTU is 14; linux/in6.h: IPV6_MTU is 24
            level, option = (socket.IPPROTO_IPV6, 24) if ":" in address else (socket.IPPROTO_IP, 14)
            yield plain.getsockopt(level, option)
        except OSError:
            return


def _ports(other: Member) -> tuple[int, ...]:
    return (*PORTS, *DATABASE_PORTS) if other.database else PORTS


def reaches(address: str, port: int) -> bool:
    """Somebody listens there."""
    try:
        with socket.create_connection((address, port), CONNECT_SECONDS):
            return True
    except OSError:
        return False


def own_version() -> str:
    """Of this installation."""
    return version("holdfast")


def version_of(address: str, get: Callable[..., httpx.Response] = httpx.get) -> str:
    """What the API there says of itself; empty where it does not answer."""
    host = f"[{address}]" if ":" in address else address
    try:
        answer = get(f"http://{host}:8470/healthz", timeout=CONNECT_SECONDS)
        return str(answer.json().get("version", ""))
    except (httpx.HTTPError, ValueError):
        return ""
