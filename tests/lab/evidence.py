"""What a lab itself says when a test fails: on another machine, days later, the assertion alone explains nothing."""

from __future__ import annotations

import re
from pathlib import Path

from app.lab.cluster import Lab

_LINES = 60
_CONSOLES = "/var/log/holdfast/console"
#: the agents' and the API's events, Corosync's changes of the ring; no traceback's lines and no request that went well
_TELLS = re.compile(r"^timestamp=\S+ level=(?!\S+ event=request .*status=[123])|\[(QUORUM|TOTEM)")
_NO_TICK = re.compile(r"^(?!HOLDFAST-TICK|\s*$)")


def evidence(lab: Lab) -> str:
    """What was done to the nodes, and what their guests and daemons said last; the agents, the most telling, last."""
    said = ["--- what was done to the nodes", *(str(event) for event in lab.events()[-_LINES:])]
    for node in lab.nodes:
        for console in sorted(lab.path(node, _CONSOLES).glob("*.log")):
            said += [f"--- the end of {node}'s {console.name}, without its ticks", *_end(console, _NO_TICK)[-15:]]
    for service in ("corosync", "api", "agent"):
        for node in lab.nodes:
            said += [f"--- {node}'s {service}", *_end(lab.log(node, service), _TELLS)]
    return "\n".join(said)


def _end(log: Path, which: re.Pattern[str]) -> list[str]:
    if not log.exists():
        return ["no log"]
    return [line[:300] for line in log.read_text(errors="replace").splitlines() if which.search(line)][-_LINES:]
