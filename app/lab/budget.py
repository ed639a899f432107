"""Where the time of a recovery went: the way of the VM that was verified last, piece by piece.

The pieces add up to its verified_s. Those before its start are read from the incident, those of its start from what
the agents logged: the coordinator's "written" and, of each start, libvirt's "domain started". `prepare` is the signal,
the reading of the database, the wait for a start slot, and the volume.
"""

import re
from datetime import datetime
from typing import Any

from app.lab.cluster import Lab
from app.lab.figures import Figures

PIECES = ("detection", "fence", "plan", "commit", "prepare", "define", "QEMU start", "guest boot")
_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


def read_budget(lab: Lab, figures: Figures, names: dict[int, str]) -> dict[str, float]:
    """Piece -> seconds. Pieces that the logs do not tell (another agent was restarted, say) are left out."""
    if not figures.verified:
        return {}
    slowest = max(figures.verified, key=lambda name: figures.verified[name])
    vm_id = next(number for number, name in names.items() if name == slowest)
    cut_at = datetime.fromisoformat(figures.cut_at)
    budget = {
        "detection": figures.detected_s,
        "fence": figures.fenced_s - figures.detected_s,
        "plan": figures.planned_s - figures.fenced_s,
    }
    logged = [line for node in lab.nodes for line in _lines(lab, node)]
    planned = {"event": "written", "what": "plan", "node": figures.incident["node"]}
    committed = [line for line in logged if planned.items() <= line.items()]
    started = [line for line in logged if line["event"] == "domain started" and line.get("vm") == str(vm_id)]
    if committed and started:
        commit = _after(max(map(_at, committed)), cut_at)
        start = max(started, key=_at)
        define, create = (int(start[key]) / 1000 for key in ("define_ms", "create_ms"))
        done = _after(_at(start), cut_at)
        budget |= {
            "commit": commit - figures.planned_s,
            "prepare": done - create - define - commit,
            "define": define,
            "QEMU start": create,
            "guest boot": figures.verified[slowest] - done,
        }
    return {piece: round(budget[piece], 3) for piece in PIECES if piece in budget}


def _lines(lab: Lab, node: str) -> list[dict[str, Any]]:
    log = lab.log(node, "agent")
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = ({key: value.strip('"') for key, value in _PAIR.findall(line)} for line in text.splitlines())
    return [line for line in lines if "timestamp" in line and "event" in line]


def _at(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"])


def _after(at: datetime, cut_at: datetime) -> float:
    return (at - cut_at).total_seconds()
