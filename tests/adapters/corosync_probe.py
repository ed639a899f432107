"""python -m tests.adapters.corosync_probe: the adapter in a process of its own, inside a node's network namespace.

Arguments: `agent NAMES` or `api NAMES` (JSON: corosync's node id -> name): prints each event as a JSON line with its
time (CLOCK_MONOTONIC, the same for all processes). Commands are JSON lines on stdin: {"send": [kind, vm_id, epoch]},
{"count": 1} (prints open descriptors and shared memory rings), {"fail": 1} (the sink raises at the next event).
`raw`: every line of stdin goes to the signals group as it is.
End of stdin: stop, then print {"event": "stopped"}.
"""

import dataclasses
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import structlog

from app.adapters.corosync.connections import SIGNALS_GROUP
from app.adapters.corosync.cpg import CpgConnection
from app.adapters.corosync.membership import CorosyncMembership
from app.ports.membership import MembershipEvent


def say(event: str, **fields: Any) -> None:
    line = json.dumps({"event": event, "at": time.monotonic(), **fields}, default=sorted)
    os.write(1, line.encode() + b"\n")


must_fail = threading.Event()


def take(event: MembershipEvent) -> None:
    if must_fail.is_set():
        must_fail.clear()
        raise RuntimeError("the sink was told to fail")
    fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    say(type(event).__name__, **fields)


def raw() -> None:
    connection = CpgConnection(SIGNALS_GROUP)
    for line in sys.stdin.buffer:
        while not connection.send(line.rstrip(b"\n")):
            time.sleep(0.02)
    connection.close()


def membership(role: str, names: dict[int, str]) -> None:
    subject = CorosyncMembership(names, agent=role == "agent")
    subject.start(take)
    for line in sys.stdin:
        command = json.loads(line)
        if "send" in command:
            kind, vm_id, epoch = command["send"]
            subject.send(kind, vm_id=vm_id, epoch=epoch)
        elif "fail" in command:
            must_fail.set()
        else:
            say(
                "count",
                descriptors=len(os.listdir("/proc/self/fd")),
                rings=len(list(Path("/dev/shm").glob("qb-*/*-data"))),
            )
    subject.stop()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    if sys.argv[1] == "raw":
        raw()
    else:
        membership(sys.argv[1], {int(key): value for key, value in json.loads(sys.argv[2]).items()})
    say("stopped")
