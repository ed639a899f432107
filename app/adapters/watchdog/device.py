"""/dev/watchdog, as Documentation/watchdog/watchdog-api.rst of the Linux kernel describes it."""

import errno
import fcntl
import math
import os
import stat
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

# include/uapi/linux/watchdog.h: _IOWR('W', 6, int) and _IOR('W', 7, int), as asm-generic/ioctl.h encodes them
WDIOC_SETTIMEOUT = 0xC0045706
WDIOC_GETTIMEOUT = 0x80045707
#: Written before the close, it disarms a driver that has WDIOF_MAGICCLOSE and was not loaded with nowayout.
MAGIC_CLOSE = b"V"
FEED = b"\0"

Ioctl = Callable[[int, int, bytes], bytes]


class WatchdogRefused(Exception):
    """There is no watchdog that does what the configuration says; the text says what to change."""


class DeviceWatchdog:
    """Armed from construction. Time-outs in seconds; a kernel driver knows whole seconds only.

    A timeout with a fraction is rounded down: the other nodes wait for the configured one before they count
    this node as reset, so the device may be earlier but never later. `timeout_seconds` is what was granted.

    `path` is a watchdog device or a FIFO (the lab's hardware, whose reader keeps the configured timeout).
    """

    def __init__(self, path: str, timeout_seconds: float, *, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._lock = threading.Lock()
        self._descriptor: int | None = _open(path)
        try:
            self.timeout_seconds: float | None = self._arm(path, timeout_seconds, ioctl)
        except WatchdogRefused:
            self.disarm()
            raise

    def _arm(self, path: str, wanted_seconds: float, ioctl: Ioctl) -> float:
        assert self._descriptor is not None
        if stat.S_ISFIFO(os.fstat(self._descriptor).st_mode):
            self.feed()  # the first byte arms it
            return wanted_seconds
        asked = max(1, math.floor(wanted_seconds))
        granted = _set_timeout(self._descriptor, path, asked, ioctl)
        if granted != asked or granted > wanted_seconds:
            raise WatchdogRefused(
                f"the driver of {path} makes {granted} s of the {wanted_seconds:g} s asked for: configure a"
                " timeout that it can keep"
            )
        return float(granted)

    def feed(self) -> None:
        with self._lock:
            if self._descriptor is not None:
                # A write that fails is a watchdog that is not fed: it resets this node, and that is right.
                with suppress(OSError):
                    os.write(self._descriptor, FEED)

    def disarm(self) -> None:
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError):
            os.write(descriptor, MAGIC_CLOSE)
        with suppress(OSError):
            os.close(descriptor)


class OpenedByFirstFeed:
    """A watchdog that is opened, and so armed, by its first feed. `timeout_seconds` is what it will be armed with.

    To open the device is to feed it. An agent that is restarted must not do that before it knows that it may: its node
    may be cut off, and others count how long ago it was fed last. WatchdogRefused by the first feed ends the agent.
    """

    def __init__(self, timeout_seconds: float, open_device: Callable[[], DeviceWatchdog]) -> None:
        self.timeout_seconds: float | None = timeout_seconds
        self._open_device = open_device
        self._device: DeviceWatchdog | None = None

    def feed(self) -> None:
        if self._device is None:
            self._device = self._open_device()
        else:
            self._device.feed()

    def disarm(self) -> None:
        if self._device is not None:
            self._device.disarm()


class NoWatchdog:
    """Nothing is armed. Other nodes cannot count on this node's reset; fencing must prove itself otherwise."""

    timeout_seconds: float | None = None

    def feed(self) -> None:
        return

    def disarm(self) -> None:
        return


def timeout_kept(path: str, wanted_seconds: float) -> float:
    """The timeout that a watchdog at that path will have; WatchdogRefused if there can be none. Opens nothing."""
    try:
        kind = os.stat(path).st_mode
    except OSError as error:
        raise WatchdogRefused(f"{path} cannot be opened: {error.strerror}{_advice(error)}") from error
    if stat.S_ISFIFO(kind):
        return wanted_seconds
    if stat.S_ISCHR(kind):
        return float(max(1, math.floor(wanted_seconds)))
    raise WatchdogRefused(f"{path} is neither a watchdog device nor a FIFO")


def _open(path: str) -> int:
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISFIFO(kind):
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISCHR(kind):
            return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        raise WatchdogRefused(f"{path} cannot be opened: {error.strerror}{_advice(error)}") from error
    raise WatchdogRefused(f"{path} is neither a watchdog device nor a FIFO")


def _advice(error: OSError) -> str:
    advice = {
        errno.ENOENT: ": load a watchdog driver, for example softdog",
        errno.EBUSY: ": another process (systemd's RuntimeWatchdogSec, sbd, wd_keepalive) has it",
        errno.ENXIO: ": nothing reads this FIFO",
    }
    return advice.get(error.errno or 0, "")


def _set_timeout(descriptor: int, path: str, seconds: int, ioctl: Ioctl) -> int:
    """Ask, then read what is in force: a driver without SETTIMEOUT may have the right one already."""
    with suppress(OSError):
        ioctl(descriptor, WDIOC_SETTIMEOUT, struct.pack("i", seconds))
    try:
        answer = ioctl(descriptor, WDIOC_GETTIMEOUT, struct.pack("i", 0))
    except OSError as error:
        raise WatchdogRefused(f"{path} does not tell its timeout, is it a watchdog? ({error.strerror})") from error
    return int(struct.unpack("i", answer)[0])
