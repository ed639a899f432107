"""What systemd hears, on a socket like its own."""

import socket
from pathlib import Path

import pytest

from app.adapters.system.service_notify import ALIVE_SECONDS_MIN, ServiceNotify


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_systemd_hears_each_word(tmp_path: Path, kind: str) -> None:
    path = str(tmp_path / "notify") if kind == "path" else f"@holdfast-test-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + path[1:] if kind == "abstract" else path)
        systemd.settimeout(5)
        notify = ServiceNotify({"NOTIFY_SOCKET": path})
        notify.ready()
        notify.alive()
        notify.stopping()
        assert [systemd.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_who_lives_on_does_not_say_so_all_the_time(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    times = iter([0.0, 0.0, ALIVE_SECONDS_MIN / 2, ALIVE_SECONDS_MIN, ALIVE_SECONDS_MIN])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.settimeout(5)
        notify = ServiceNotify({"NOTIFY_SOCKET": path}, now=lambda: next(times))
        for _ in range(3):
            notify.alive()
        notify.stopping()
        assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_a_systemd_that_does_not_listen_is_no_error(tmp_path: Path) -> None:
    ServiceNotify({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).alive()
    ServiceNotify({}).alive()
