"""The agent's work on a VM carries the cause of it: into its log, and into the domain."""

from typing import Any

import pytest
import structlog

from app.domain import actions as do
from app.domain.records import Image
from app.domain.vm import StopMode
from app.engine.vm_work import vm_work
from app.ports.hypervisor import Disk, DomainSpec
from app.ports.tracing import NO_TRACING, Tracer
from tests.domain.make import WHEN, vm


class Recorder:
    """Hypervisor, pool, store and clock in one: what was in the log's context, and what was started."""

    def __init__(self, tracer: Tracer = NO_TRACING) -> None:
        self.tracer = tracer
        self.context: list[dict[str, Any]] = []
        self.started: list[DomainSpec] = []
        self.hypervisor = self.store = self.clock = self.facts = self
        self.pools = {"pool": self}
        self.name = "n1"

    def run(self, _: object) -> Any:
        return Image(1, "image", "pool", "image.qcow2", 1, WHEN)

    def monotonic(self) -> float:
        return 0.0

    def ensure_volume(self, name: str, **_: object) -> Disk:
        return Disk("file", f"/{name}", "raw")

    def start(self, spec: DomainSpec) -> None:
        self.started.append(spec)
        self.context.append(structlog.contextvars.get_contextvars())

    def stop(self, *_: object) -> None:
        self.context.append(structlog.contextvars.get_contextvars())

    reset = stop


@pytest.mark.parametrize(
    "action",
    [
        do.StartVm(vm(1, correlation_id="incident-3"), 1.0),
        do.StopVm(1, 1, StopMode.HARD, "incident-3"),
        do.ResetVm(1, 1, StopMode.HARD, "incident-3"),
    ],
    ids=["start", "stop", "reset"],
)
def test_the_cause_is_in_the_log_while_the_work_is_done_and_not_after_it(action: do.Action) -> None:
    recorder: Any = Recorder()
    (done,) = vm_work(action, recorder)
    assert "error=''" in repr(done)
    assert recorder.context == [{"correlation_id": "incident-3"}]
    assert structlog.contextvars.get_contextvars() == {}
    assert [spec.correlation_id for spec in recorder.started] in ([], ["incident-3"])


def test_without_a_cause_none_is_made_up() -> None:
    recorder: Any = Recorder()
    vm_work(do.StopVm(1, 1, StopMode.HARD), recorder)
    assert recorder.context == [{}]


def test_why_a_copy_is_ended_is_logged_before_it_is() -> None:
    recorder: Any = Recorder()
    with structlog.testing.capture_logs() as logged:
        recorder.destroy = lambda *_: logged.append({"event": "destroyed"})
        vm_work(do.DestroyVm(1, 2, "this node was fenced"), recorder)
    why = {"event": "ends a copy", "vm": 1, "generation": 2, "reason": "this node was fenced", "log_level": "info"}
    assert logged == [why, {"event": "destroyed"}]
