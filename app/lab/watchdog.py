"""A node's lab watchdog: hardware outside of the node that cuts its power when it is not fed in time.

The node writes bytes into a FIFO as it would into /dev/watchdog (kernel: Documentation/watchdog/watchdog-api.rst):
each byte feeds, the first one arms it, and only a 'V' as the last byte disarms it (magic close). Closing or dying
without it leaves it armed.
"""

from __future__ import annotations

import argparse
import os
import select
import time
from pathlib import Path

from app.lab.paths import WATCHDOG_IN_NODE, LabPaths
from app.lab.power import power_off
from app.lab.state import record

MAGIC_CLOSE = b"V"


def watch(fifo: Path, timeout_seconds: float) -> float:
    """Return the seconds since the last feed once that is too long."""
    # read-write: a FIFO that is open for writing here never reports end-of-file when the node's writer goes
    descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    last_feed: float | None = None
    while True:
        left = None if last_feed is None else last_feed + timeout_seconds - time.monotonic()
        if left is not None and left <= 0 and last_feed is not None:
            return time.monotonic() - last_feed
        if poll.poll(None if left is None else max(1, left * 1000)):
            data = os.read(descriptor, 4096)
            last_feed = None if data.endswith(MAGIC_CLOSE) else time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("node")
    parser.add_argument("timeout_seconds", type=float)
    arguments = parser.parse_args()
    paths = LabPaths(arguments.directory)
    fifo = paths.node(arguments.node).inside(WATCHDOG_IN_NODE)
    silence = watch(fifo, arguments.timeout_seconds)
    record(paths, "watchdog-expired", arguments.node, "watchdog", seconds_since_feed=round(silence, 3))
    power_off(paths, arguments.node, "watchdog", f"not fed for {silence:.2f} s")


if __name__ == "__main__":
    main()
