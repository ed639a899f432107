"""The figures of one recovery: read from the incident that the product wrote, in seconds after the power cut."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Figures:
    """`started` and `verified`: by VM name. `double_writes`: what the guests' disks prove; only 0 is good."""

    nodes: int
    vms: int
    cut_at: str
    detected_s: float
    fenced_s: float
    fence_proof: str
    planned_s: float
    started: dict[str, float]
    verified: dict[str, float]
    unplaced: list[str]
    incident: dict[str, Any]
    vm_names: dict[int, str]
    double_writes: int = 0
    budget: dict[str, float] = field(default_factory=dict)
    load_average: float = 0.0

    @property
    def first_up_s(self) -> float:
        """When the first VM was verified up."""
        return min(self.verified.values(), default=float("nan"))

    @property
    def all_up_s(self) -> float:
        """When the last VM was verified up."""
        return max(self.verified.values(), default=float("nan"))

    def as_dict(self) -> dict[str, Any]:
        """For programs: one object for each VM, with started_s and verified_s."""
        body = asdict(self)
        started, verified = body.pop("started"), body.pop("verified")
        body["per_vm"] = [
            {"name": name, "started_s": started.get(name), "verified_s": at} for name, at in verified.items()
        ]
        return {**body, "first_up_s": self.first_up_s, "all_up_s": self.all_up_s}

    def as_json(self) -> str:
        """The same as text."""
        return json.dumps(self.as_dict(), indent=2) + "\n"


def read_figures(incident: dict[str, Any], names: dict[int, str], cut_at: datetime, nodes: int) -> Figures:
    """`names`: VM id -> name, of the VMs that ran on the lost node."""
    steps = incident["steps"]

    def after(step: dict[str, Any]) -> float:
        return round((datetime.fromisoformat(step["at"]) - cut_at).total_seconds(), 3)

    def first(what: str) -> float:
        return min((after(s) for s in steps if s["what"] == what), default=float("nan"))

    def by_vm(what: str) -> dict[str, float]:
        return {names[s["vm_id"]]: after(s) for s in steps if s["what"] == what and s["vm_id"] in names}

    return Figures(
        nodes=nodes,
        vms=len(names),
        cut_at=cut_at.isoformat(),
        detected_s=first("detected"),
        fenced_s=first("fenced"),
        fence_proof=incident["proof"]["method"] if incident["proof"] else "",
        planned_s=first("planned"),
        started=by_vm("started"),
        verified=by_vm("verified"),
        unplaced=list(by_vm("unplaced")),
        incident=incident,
        vm_names=names,
    )
