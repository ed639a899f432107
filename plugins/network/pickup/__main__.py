"""The watch as a program of its own, for a storage server that has no agent: one process for each node's address.

Prints one JSON object per line: {"at", "kind", "text"} for what happened and {"at", "paths"} whenever a path changed.
Ends on SIGTERM or SIGINT; routes stay as they are.
"""

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from app.plugin_api import NetworkContext, PathReport
from plugins.network.pickup.options import PickupOptions
from plugins.network.pickup.watch import PickupWatch

_POLL_SECONDS = 0.05
_SPEAKING = threading.Lock()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m plugins.network.pickup", description=__doc__)
    parser.add_argument("--target", required=True, help="the address to keep reachable")
    parser.add_argument("--source", required=True, help="this machine's own address for that traffic")
    parser.add_argument(
        "--path", action="append", required=True, metavar="NAME,INTERFACE,GATEWAY,METRIC[,PROBE]", dest="paths",
        help="a way to the target; give it once for each path, the lowest metric is preferred",
    )  # fmt: skip
    for name, kind in (
        ("probe_interval_seconds", float), ("probe_misses_max", int), ("failback_seconds", float),
        ("flap_window_seconds", float), ("flap_max", int),
    ):  # fmt: skip
        default = PickupOptions.model_fields[name].default
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=default, help=f"default: {default}")
    parser.add_argument(
        "--close-connections", action="store_true",
        help="also close TCP connections to the target on a switch: only at the end that reconnects",
    )  # fmt: skip
    return parser.parse_args(argv)


def _options(arguments: argparse.Namespace) -> PickupOptions:
    fields: dict[str, Any] = vars(arguments)
    keys = ("name", "interface", "gateway", "metric", "probe")
    fields["paths"] = [dict(zip(keys, text.split(","), strict=False)) for text in fields["paths"]]
    return PickupOptions.model_validate(fields)


def _say(**what: object) -> None:
    # The watch's thread and the main one both speak: print() writes text and line end apart.
    with _SPEAKING:
        print(json.dumps({"at": datetime.now(UTC).isoformat(), **what}), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 after a signal, 2 for options that make no sense."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    try:
        options = _options(_arguments(argv))
    except ValidationError as error:
        for wrong in error.errors():
            print(f"{'.'.join(str(part) for part in wrong['loc'])}: {wrong['msg']}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    watch = PickupWatch(options, NetworkContext("", lambda kind, text: _say(kind=kind, text=text)))
    watch.start()
    said: list[PathReport] = []
    while not stop.wait(_POLL_SECONDS):
        reports = list(watch.reports())
        # Latency differs every time and is no news.
        if [replace(r, latency_ms=None) for r in reports] != [replace(r, latency_ms=None) for r in said]:
            said = reports
            _say(paths=[asdict(r) for r in reports])
    watch.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
