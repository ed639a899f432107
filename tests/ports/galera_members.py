"""A real MariaDB Galera cluster for tests: three stock `mariadbd`, a network namespace for each, a bridge between them.

Clients reach the members by their Unix sockets, which network namespaces do not separate. All members begin from copies
of one data directory, which was a cluster of one before and so knows its position: nobody needs a state transfer.
"""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete
from sqlmodel import SQLModel

from app.adapters.db.engines import open_engine

USER, PASSWORD = "holdfast", "only-for-this-test"
#: As Debian runs it: the state transfer's rsync daemon would not work as root.
SYSTEM_USER = "mysql"
_INNODB = ("--innodb-log-file-size=8M", "--innodb-data-file-path=ibdata1:12M:autoextend")
_SERVER = (
    "mariadbd",
    "--no-defaults",
    f"--user={SYSTEM_USER}",
    *_INNODB,
    "--innodb-buffer-pool-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-flush-method=nosync",
    "--innodb-autoinc-lock-mode=2",
    "--binlog-format=ROW",
    "--performance-schema=OFF",
    "--skip-networking",
    "--wsrep-on=ON",
    "--wsrep-provider=/usr/lib/galera/libgalera_smm.so",
    "--wsrep-cluster-name=holdfast-test",
    "--wsrep-sst-method=rsync",
)
_PROVIDER = (
    "evs.suspect_timeout=PT2S",
    "evs.inactive_timeout=PT4S",
    "evs.keepalive_period=PT0.5S",
    "evs.inactive_check_period=PT0.5S",
    "evs.join_retrans_period=PT0.5S",
    "pc.announce_timeout=PT0.5S",
    "gmcast.time_wait=PT1S",
    "gmcast.peer_timeout=PT1S",
    "gcache.size=8M",
)


def _run(*arguments: str, namespace: str = "") -> str:
    where = ("ip", "netns", "exec", namespace) if namespace else ()
    done = subprocess.run([*where, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout + done.stderr


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 40) -> None:
    """Poll until it is true; an AssertionError that says what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Member:
    """One mariadbd."""

    def __init__(self, directory: Path, number: int, prefix: str, addresses: list[str]) -> None:
        self.number = number
        self.namespace = f"{prefix}m{number}"
        self.port = f"{prefix}p{number}"
        self.address = addresses[number]
        self.data = directory / f"m{number}"
        self.socket = directory / f"m{number}.sock"
        self._log = directory / f"m{number}.log"
        self._cluster = "gcomm://" + ",".join(addresses)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "holdfast") -> str:
        return f"mysql+pymysql://{USER}:{PASSWORD}@/{database}?unix_socket={self.socket}"

    def start(self, *extra: str) -> None:
        provider = ";".join((*_PROVIDER, f"gmcast.listen_addr=tcp://{self.address}:4567"))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "ip", "netns", "exec", self.namespace, *_SERVER, *extra,
                    f"--datadir={self.data}",
                    f"--socket={self.socket}",
                    f"--pid-file={self.data}/pid",
                    f"--wsrep-cluster-address={self._cluster}",
                    f"--wsrep-node-address={self.address}",
                    f"--wsrep-provider-options={provider}",
                ],
                stdout=log,
                stderr=log,
            )  # fmt: skip

    def restart(self) -> None:
        """After a kill: find the position first, as Debian's unit does: the others then send only what is missing."""
        where = (f"--datadir={self.data}", f"--socket={self.socket}", f"--wsrep-cluster-address={self._cluster}")
        said = _run(*_SERVER, *where, "--wsrep-recover", "--disable-log-error", namespace=self.namespace)
        found = re.search(r"Recovered position:?\s*(\S+:-?\d+)", said)
        assert found, f"no position in the data directory: {said[-3000:]}"
        self.start(f"--wsrep-start-position={found[1]}")

    def status(self) -> dict[str, str]:
        """wsrep_*, also of a member that refuses reads; empty when it does not answer."""
        query = "SHOW GLOBAL STATUS LIKE 'wsrep\\_%'"
        client = [
            "mariadb",
            "--no-defaults",
            f"--socket={self.socket}",
            f"--user={USER}",
            "--connect-timeout=2",
            "-NBe",
        ]
        environment = {**os.environ, "MYSQL_PWD": PASSWORD}
        done = subprocess.run(
            [*client, query], env=environment, capture_output=True, text=True, timeout=20, check=False
        )
        assert done.returncode == 0 or self._process is None or self._process.poll() is None, self._log.read_text()[
            -3000:
        ]
        return dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)

    def synced(self, size: int) -> bool:
        status = self.status()
        return status.get("wsrep_ready") == "ON" and status.get("wsrep_cluster_size") == str(size)

    @property
    def alive(self) -> bool:
        return self._process is not None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)  # `ip netns exec` became mariadbd itself
        if number == signal.SIGSTOP:
            while not self._stopped():  # a thread that was running stops at its next look, not at once
                time.sleep(0.01)

    def _stopped(self) -> bool:
        assert self._process is not None
        stats = [p.read_text() for p in Path(f"/proc/{self._process.pid}/task").glob("*/stat")]
        return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        assert self._process is not None
        assert self._process.wait(60) == 0
        self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def link(self, *, up: bool) -> None:
        """Its cable."""
        _run("ip", "-n", self.namespace, "link", "set", "eth0", "up" if up else "down")


class Galera:
    """Three members, up and in sync; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        self._prefix = f"hf-db{os.getpid()}-"
        self._switch = f"{self._prefix}sw"
        self._directory = Path(tempfile.mkdtemp(prefix="holdfast-galera-"))
        addresses = [f"10.78.0.{number + 1}" for number in range(3)]
        self.members = [Member(self._directory, number, self._prefix, addresses) for number in range(3)]
        self.start_seconds = 0.0

    def __enter__(self) -> "Galera":
        started = time.monotonic()
        try:
            self._directory.chmod(0o755)
            shutil.chown(self._directory, SYSTEM_USER)
            self._wire()
            self._prepare()
            self.members[0].start("--wsrep-new-cluster")
            for member in self.members[1:]:
                member.start()
            self.wait_synced()
        except BaseException:
            self.close()
            raise
        self.start_seconds = time.monotonic() - started
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_synced(self) -> None:
        """All three are in one primary component, and say so together: one that stood still says so at first, too."""
        wait_until(lambda: all(member.synced(3) for member in self.members), "all three members are in sync", 3 * 40)

    def empty(self) -> None:
        """The tables as after the first migration."""
        engine = open_engine(self.members[0].url(), pooled=False)
        with engine.begin() as connection:
            for table in SQLModel.metadata.sorted_tables:
                connection.execute(delete(table))
            connection.exec_driver_sql("INSERT INTO epochs (id, epoch, holder, writes) VALUES (1, 0, '', 0)")
        engine.dispose()

    def close(self) -> None:
        for member in self.members:
            member.kill()
        for name in [self._switch, *(member.namespace for member in self.members)]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        shutil.rmtree(self._directory, ignore_errors=True)

    def _wire(self) -> None:
        _run("ip", "netns", "add", self._switch)
        _run("ip", "-n", self._switch, "link", "add", "br0", "type", "bridge")
        _run("ip", "-n", self._switch, "link", "set", "br0", "up")
        for member in self.members:
            port = f"m{member.number}"
            _run("ip", "netns", "add", member.namespace)
            _run(
                "ip", "link", "add", "eth0", "netns", member.namespace, "type", "veth",
                "peer", "name", port, "netns", self._switch,
            )  # fmt: skip
            _run("ip", "-n", self._switch, "link", "set", port, "master", "br0", "up")
            _run("ip", "-n", member.namespace, "addr", "add", f"{member.address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _run("ip", "-n", member.namespace, "link", "set", link, "up")

    def _prepare(self) -> None:
        """One data directory, installed and once in use, and its copies."""
        first = self.members[0]
        sql = self._directory / "users.sql"
        sql.write_text(
            "FLUSH PRIVILEGES;\nCREATE DATABASE holdfast CHARACTER SET utf8mb4;\n"
            f"CREATE USER {USER}@localhost IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO {USER}@localhost;\n"
        )
        _run(
            "mariadb-install-db", "--no-defaults", f"--user={SYSTEM_USER}", "--skip-test-db",
            f"--datadir={first.data}", f"--extra-file={sql}", *_INNODB,
        )  # fmt: skip
        first.start("--wsrep-new-cluster")
        wait_until(lambda: first.synced(1), "the first start")
        first.stop()
        (first.data / "galera.cache").unlink()
        for member in self.members[1:]:
            _run("cp", "-a", "--sparse=always", str(first.data), str(member.data))
