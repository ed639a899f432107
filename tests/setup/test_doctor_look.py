"""What the doctor sees when a fault is planted on a real disk, a real socket, a real fence agent."""

import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from app.adapters.cluster_files import pki, places
from app.adapters.cluster_files.layout_json import layout_to_text
from app.domain.layout import first_layout
from app.setup.doctor_look import fence_complaint, look, look_at_node, reaches, version_of, who_reads
from app.setup.doctor_rules import diagnose
from tests.setup.test_node_parts import Noted


@pytest.fixture
def noted(tmp_path: Path) -> Noted:
    made = Noted(tmp_path)
    made.answers["timedatectl"] = b"yes\n"
    panic = made.machine.place(Path("/proc/sys/kernel/panic"))
    panic.parent.mkdir(parents=True)
    panic.write_text("3\n")
    return made


def checks(noted: Noted) -> set[str]:
    return {f.check for f in diagnose(look_at_node(noted.machine))} - {"watchdog"}


def test_a_healthy_node(noted: Noted) -> None:
    assert checks(noted) == set()


def test_planted_in_the_kernel_and_in_systemd(noted: Noted) -> None:
    noted.machine.place(Path("/proc/sys/kernel/panic")).write_text("0\n")
    noted.fails |= {"systemctl --quiet is-active holdfast-agent", "timedatectl"}
    assert checks(noted) == {"kernel-panic", "services", "clock"}


def test_a_port_that_systemd_will_hold(noted: Noted) -> None:
    """An upgrade of Debian's package may bring the socket to a node that had none."""
    noted.answers["systemctl"] = b"enabled\n"
    found = [f for f in diagnose(look_at_node(noted.machine)) if f.check == "database"]
    assert ["mariadb.socket" in f.fix for f in found] == [True]


def test_planted_in_the_files(noted: Noted) -> None:
    key, now = pki.new_key(), datetime.now(UTC)
    old = now - timedelta(days=pki.CA_DAYS - 10)
    noted.machine.write(places.CA_CERTIFICATE, pki.new_authority("rack", key, old))
    noted.machine.write(places.CA_KEY, pki.key_to_pem(key), 0o644)
    assert checks(noted) == {"certificates", "secrets"}


def test_a_key_of_the_owner_alone_is_well(tmp_path: Path) -> None:
    file = tmp_path / "key"
    assert who_reads(file) is None
    file.touch(mode=0o600)
    assert who_reads(file) == ""
    file.chmod(0o660)
    assert who_reads(file) is not None
    file.chmod(0o604)
    assert who_reads(file) == "everybody"


def test_a_broken_configuration_is_found_and_the_rest_is_still_looked_at(noted: Noted) -> None:
    noted.machine.write(places.CONFIG, "[node]\nname = 7\n", 0o600)
    noted.machine.place(Path("/proc/sys/kernel/panic")).write_text("0\n")
    found = {f.check: f.wrong for f in diagnose(look(noted.machine)) if f.check != "watchdog"}
    assert set(found) == {"config", "kernel-panic"}
    assert "node.name" in found["config"]


def test_a_node_alone_with_its_state(noted: Noted, tmp_path: Path) -> None:
    """A pool that is gone, a watchdog and a libvirt that are not there, a database that nobody made."""
    noted.machine.write(
        places.CONFIG,
        f'[node]\nname = "n1"\n[database]\nurls = ["sqlite:///{tmp_path}/none/x.db"]\n'
        '[watchdog]\npath = "/dev/watchdog9"\n'
        '[[pools]]\nname = "p"\ndriver = "file"\noptions = {path = "/gone"}\n',
        0o600,
    )
    found = {f.check for f in diagnose(look(noted.machine))}
    assert found == {"watchdog", "pools", "database", "libvirt", "kvm"}


def test_a_member_whose_layout_cannot_be_read_says_so(noted: Noted) -> None:
    noted.machine.write(places.CONFIG, '[node]\nname = "n9"\n', 0o600)
    noted.machine.write(places.LAYOUT, layout_to_text(first_layout("rack", "n1", ("10.0.0.1",))))
    noted.machine.write(places.DATABASE_PASSWORD, "feed\n", 0o600)
    found = {f.check: f.wrong for f in diagnose(look(noted.machine))}
    assert "no member" in found["config"]


def test_a_fence_device_is_asked_and_its_complaint_is_told() -> None:
    says = "import sys; words = sys.stdin.read(); sys.exit('login failed' if 'action=monitor' in words else 0)"
    assert "login failed" in fence_complaint((sys.executable, "-c", says), {})
    assert fence_complaint((sys.executable, "-c", "pass"), {}) == ""
    assert fence_complaint(("/no/such/agent",), {})


def test_a_port_that_nobody_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reaches("127.0.0.1", port)
    assert not reaches("127.0.0.1", port)


def test_the_version_of_another_node() -> None:
    asked: list[str] = []

    def get(url: str, timeout: float) -> httpx.Response:
        asked.append(url)
        return httpx.Response(200, json={"status": "ok", "version": "1.2"})

    assert version_of("fd00::1", get) == "1.2"
    assert asked == ["http://[fd00::1]:8470/healthz"]
    assert version_of("127.0.0.1", lambda *_a, **_k: httpx.Response(502, text="no")) == ""
