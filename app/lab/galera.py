"""MariaDB Galera in the lab: a prepared data directory, the settings, and what tells that a member is in sync."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from app.lab.errors import LabError
from app.lab.paths import NodePaths
from app.lab.state import NodeState

SOCKET = "/run/mysqld/mysqld.sock"
DATABASE = "holdfast"
USER = "holdfast"
_DATA = "/var/lib/mysql"
# As Debian runs it. As root the rsync state transfer fails: its rsync daemon turns into "nobody".
SYSTEM_USER = "mysql"
# Same in the prepared directory and in every member: the redo log's size is part of the files.
_INNODB = ("--innodb-log-file-size=16M", "--innodb-buffer-pool-size=32M")
# Lab only: what survives here are power cuts of nodes, not of the machine, so nothing waits for the disk.
_FAST = ("--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0", "--performance-schema=OFF")
# One of three cut off: the longest commit stalls 0.44 s with these (default timeouts: about 5 s).
_PROVIDER = (
    "evs.suspect_timeout=PT2S",
    "evs.inactive_timeout=PT4S",
    "evs.keepalive_period=PT0.5S",
    "evs.inactive_check_period=PT0.5S",
    "evs.join_retrans_period=PT0.5S",
    "pc.announce_timeout=PT0.5S",
    "gmcast.peer_timeout=PT1S",
    "gmcast.time_wait=PT1S",
    "gcache.size=16M",
)
# Settings of every server process, of the seed's and of the members'.
_SERVER = (
    "mariadbd",
    "--no-defaults",
    f"--user={SYSTEM_USER}",
    "--skip-name-resolve",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_unicode_ci",
    "--binlog-format=ROW",
    "--default-storage-engine=InnoDB",
    "--innodb-autoinc-lock-mode=2",
    *_INNODB,
    *_FAST,
    "--wsrep-on=ON",
    "--wsrep-provider=/usr/lib/galera/libgalera_smm.so",
    "--wsrep-cluster-name=holdfast",
    "--wsrep-sst-method=rsync",
)


def seed(cache: Path) -> tuple[Path, str]:
    """The prepared data directory and the password of its `holdfast` user; made once per MariaDB version."""
    version = subprocess.run(["mariadbd", "--version"], capture_output=True, text=True, check=True).stdout
    tag = hashlib.sha256((version + "".join(_SERVER) + _sql("")).encode()).hexdigest()[:12]
    directory = cache / f"galera-{tag}"
    if not directory.is_dir():
        _make_seed(directory)
    return directory / "data", (directory / "password").read_text()


def _sql(password: str) -> str:
    grants = [
        f"CREATE USER {USER}@'{host}' IDENTIFIED BY '{password}';\nGRANT ALL ON {DATABASE}.* TO {USER}@'{host}';"
        for host in ("localhost", "%")
    ]
    return "\n".join(["FLUSH PRIVILEGES;", f"CREATE DATABASE {DATABASE} CHARACTER SET utf8mb4;", *grants, ""])


def _make_seed(directory: Path) -> None:
    temporary = directory.with_name(f"{directory.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    password = secrets.token_hex(16)
    (temporary / "password").write_text(password)
    (temporary / "password").chmod(0o600)
    (temporary / "extra.sql").write_text(_sql(password))
    (temporary / "extra.sql").chmod(0o600)
    done = subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--user={SYSTEM_USER}",
            "--auth-root-authentication-method=socket",
            "--skip-test-db",
            f"--datadir={temporary / 'data'}",
            f"--extra-file={temporary / 'extra.sql'}",
            *_INNODB,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"mariadb-install-db failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    (temporary / "extra.sql").unlink()
    _first_start(temporary)
    try:
        temporary.rename(directory)
    except OSError:
        shutil.rmtree(temporary)  # another lab was faster
        if not directory.is_dir():
            raise


def _first_start(directory: Path) -> None:
    server = (*_SERVER, f"--pid-file={directory / 'data' / 'seed.pid'}")
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-m", "app.lab.galera_seed", str(directory / "data"), *server],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"the database could not be prepared: {done.stderr[-2000:]}")


def copy_seed(data: Path, node: NodePaths, bootstrap: bool) -> None:
    """Give the node its copy. All copies have the same identifier and position, so nobody needs a transfer."""
    target = node.inside(_DATA)
    subprocess.run(["cp", "-a", "--reflink=auto", "--sparse=always", f"{data}/.", str(target)], check=True)
    state = target / "grastate.dat"
    text = re.sub(r"safe_to_bootstrap: \d", f"safe_to_bootstrap: {int(bootstrap)}", state.read_text())
    state.write_text(text)


def argv(node: NodeState, nodes: tuple[NodeState, ...], bootstrap: bool) -> tuple[str, ...]:
    """Through `galera_start`, which finds the position of a crashed member before it starts it."""
    members = ",".join(member.address for member in nodes)
    provider = ";".join((*_PROVIDER, f"gmcast.listen_addr=tcp://{node.address}:4567"))
    server = (
        *_SERVER,
        f"--datadir={_DATA}",
        f"--socket={SOCKET}",
        "--pid-file=/run/mysqld/mysqld.pid",
        "--bind-address=0.0.0.0",
        f"--wsrep-cluster-address=gcomm://{members}",
        f"--wsrep-node-address={node.address}",
        f"--wsrep-node-name={node.name}",
        f"--wsrep-provider-options={provider}",
    )
    first = ("--bootstrap",) if bootstrap else ()
    return (sys.executable, "-m", "app.lab.galera_start", *first, "--", *server)


def status(node: NodePaths) -> dict[str, str]:
    """The member's wsrep_* status by its own socket; empty when it does not answer."""
    socket = node.inside(SOCKET)
    if not socket.exists():
        return {}
    query = "SHOW GLOBAL STATUS LIKE 'wsrep_%'"
    command = ["mariadb", "--no-defaults", f"--socket={socket}", "--connect-timeout=2", "-NBe", query]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except subprocess.TimeoutExpired:
        return {}
    return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)


def is_synced(node: NodePaths, size: int | None = None) -> bool:
    """True when the member takes queries in a primary component (of `size` members, if given)."""
    values = status(node)
    return (
        values.get("wsrep_ready") == "ON"
        and values.get("wsrep_cluster_status") == "Primary"
        and (size is None or values.get("wsrep_cluster_size") == str(size))
    )


def urls(node: NodeState, nodes: tuple[NodeState, ...], password: str) -> list[str]:
    """The node's own member by its socket first, then the others."""
    login = f"mysql+pymysql://{USER}:{password}@"
    others = [f"{login}{other.address}:3306/{DATABASE}" for other in nodes if other.name != node.name]
    return [f"{login}/{DATABASE}?unix_socket={SOCKET}", *others]
