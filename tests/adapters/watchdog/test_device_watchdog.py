"""DeviceWatchdog against devices that do not do what they are told. The real one needs hardware or softdog."""

import os
import struct
import time
from pathlib import Path

import pytest

from app.adapters.watchdog.device import WDIOC_GETTIMEOUT, WDIOC_SETTIMEOUT, DeviceWatchdog, WatchdogRefused


class FakeDriver:
    """The ioctl of a driver that grants `grants` (None: what was asked) or does not know SETTIMEOUT."""

    def __init__(self, grants: int | None = None, settable: bool = True) -> None:
        self.grants, self.settable = grants, settable
        self.timeout = 60 if grants is None else grants

    def __call__(self, _descriptor: int, request: int, argument: bytes) -> bytes:
        if request == WDIOC_SETTIMEOUT:
            if not self.settable:
                raise OSError(95, "Operation not supported")
            self.timeout = int(struct.unpack("i", argument)[0]) if self.grants is None else self.grants
        else:
            assert request == WDIOC_GETTIMEOUT
        return struct.pack("i", self.timeout)


def test_the_request_numbers_are_those_of_the_kernel() -> None:
    """asm-generic/ioctl.h: direction << 30 | size << 16 | type << 8 | number; read is 2, write 1."""
    base = struct.calcsize("i") << 16 | ord("W") << 8
    assert (2 | 1) << 30 | base | 6 == WDIOC_SETTIMEOUT
    assert 2 << 30 | base | 7 == WDIOC_GETTIMEOUT


@pytest.mark.parametrize(("wanted", "granted"), [(10, 10.0), (5.9, 5.0), (1, 1.0)])
def test_whole_seconds_never_more_than_configured(wanted: float, granted: float) -> None:
    watchdog = DeviceWatchdog("/dev/null", wanted, ioctl=FakeDriver())
    assert watchdog.timeout_seconds == granted
    watchdog.feed()
    watchdog.disarm()


@pytest.mark.parametrize(("wanted", "grants"), [(10, 16), (10, 5), (0.5, None)])
def test_another_timeout_than_asked_is_refused(wanted: float, grants: int | None) -> None:
    with pytest.raises(WatchdogRefused, match="asked for"):
        DeviceWatchdog("/dev/null", wanted, ioctl=FakeDriver(grants))


def test_a_fixed_timeout_that_fits_is_fine_and_another_is_not() -> None:
    assert DeviceWatchdog("/dev/null", 30, ioctl=FakeDriver(30, settable=False)).timeout_seconds == 30
    with pytest.raises(WatchdogRefused):
        DeviceWatchdog("/dev/null", 10, ioctl=FakeDriver(30, settable=False))


def test_what_is_no_watchdog_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WatchdogRefused, match="is it a watchdog"):
        DeviceWatchdog("/dev/null", 10)  # the real ioctl of a real character device
    (tmp_path / "file").touch()
    with pytest.raises(WatchdogRefused, match="neither"):
        DeviceWatchdog(str(tmp_path / "file"), 10)
    with pytest.raises(WatchdogRefused, match="softdog"):
        DeviceWatchdog(str(tmp_path / "missing"), 10)


def test_a_fifo_without_a_reader_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(WatchdogRefused, match="nothing reads"):
        DeviceWatchdog(str(tmp_path / "fifo"), 10)


def test_feeding_neither_blocks_nor_raises_whatever_the_reader_does(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    watchdog = DeviceWatchdog(str(tmp_path / "fifo"), 10)
    began = time.monotonic()
    for _ in range(70_000):  # a pipe holds 64 KiB
        watchdog.feed()
    os.close(reader)
    watchdog.feed()
    watchdog.disarm()
    assert time.monotonic() - began < 5


def test_the_bytes_on_the_wire(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    watchdog = DeviceWatchdog(str(tmp_path / "fifo"), 10)
    watchdog.feed()
    watchdog.disarm()
    watchdog.feed()
    assert os.read(reader, 100) == b"\0\0V"
    os.close(reader)
