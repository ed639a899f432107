"""The port `Watchdog`, on the simulated one, on a FIFO with a real reader, and on none."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.adapters.sim.watchdog import SimWatchdog
from app.adapters.watchdog import DeviceWatchdog, NoWatchdog
from app.ports.watchdog import Watchdog


@dataclass
class SimBench:
    time: float = 0.0
    watchdog: SimWatchdog = field(init=False)

    def __post_init__(self) -> None:
        self.watchdog = SimWatchdog(lambda: self.time, 0.4)

    def wait(self, seconds: float) -> None:
        self.time += seconds

    def expired(self) -> bool:
        return self.watchdog.expired()

    def close(self) -> None: ...


class FifoBench:
    """The other side of the FIFO, as a device behaves: armed by the first byte, disarmed by V before the close."""

    def __init__(self, directory: Path) -> None:
        os.mkfifo(directory / "watchdog")
        self._reader = os.open(directory / "watchdog", os.O_RDWR | os.O_NONBLOCK)
        self._deadline: float | None = None
        self._expired = False
        self.watchdog = DeviceWatchdog(str(directory / "watchdog"), 0.4)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.expired()
            time.sleep(0.005)

    def expired(self) -> bool:
        try:
            data = os.read(self._reader, 4096)
            self._deadline = None if data.endswith(b"V") else time.monotonic() + 0.4
        except BlockingIOError:
            self._expired = self._expired or (self._deadline is not None and time.monotonic() >= self._deadline)
        return self._expired

    def close(self) -> None:
        self.watchdog.disarm()
        os.close(self._reader)


@pytest.fixture(params=["sim", "fifo"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimBench | FifoBench]:
    made = SimBench() if request.param == "sim" else FifoBench(tmp_path)
    yield made
    made.close()


AnyBench = SimBench | FifoBench


def test_it_tells_its_timeout(bench: AnyBench) -> None:
    assert bench.watchdog.timeout_seconds == 0.4


def test_it_is_armed_by_opening(bench: AnyBench) -> None:
    assert not bench.expired()
    bench.wait(0.6)
    assert bench.expired()


def test_feeding_holds_it_and_no_feed_ends_it(bench: AnyBench) -> None:
    for _ in range(6):
        bench.wait(0.1)
        bench.watchdog.feed()
    assert not bench.expired()
    bench.wait(0.6)
    assert bench.expired()


def test_a_feed_after_the_end_is_too_late(bench: AnyBench) -> None:
    bench.wait(0.6)
    assert bench.expired()
    bench.watchdog.feed()
    assert bench.expired()


def test_disarmed_it_never_ends_and_further_calls_do_nothing(bench: AnyBench) -> None:
    bench.watchdog.disarm()
    bench.wait(0.6)
    bench.watchdog.feed()
    bench.watchdog.disarm()
    bench.wait(0.6)
    assert not bench.expired()


def _calls(watchdog: Watchdog) -> list[Callable[[], None]]:
    return [watchdog.feed, watchdog.disarm, watchdog.feed]


def test_no_watchdog_says_so() -> None:
    watchdog = NoWatchdog()
    assert watchdog.timeout_seconds is None
    for call in _calls(watchdog):
        call()
