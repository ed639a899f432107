"""The watch: sees carriers and probes, asks the core which path to take, makes the routes so."""

import logging
import os
import select
import threading
import time
from collections.abc import Callable, Sequence

from app.plugin_api import (
    CarrierSeen,
    NetworkContext,
    Observation,
    PathDecision,
    PathReport,
    PathsState,
    ProbeSeen,
    choose_path,
    start_state,
)
from plugins.network.pickup.connections import close_connections
from plugins.network.pickup.kernel import Kernel, LinkEvents
from plugins.network.pickup.options import PickupOptions
from plugins.network.pickup.probe import Probe

log = logging.getLogger(__name__)
#: links and routes are looked at this often even if no event came
_SWEEP_SECONDS = 2.0
_RETRY_SECONDS = 1.0


class PickupWatch:
    """One storage address with its paths. Implements `PathWatch`; all work is in one thread.

    Everything is level-triggered: a killed process leaves the routes as they are, and the next one reads from them
    which path was in use.
    """

    def __init__(
        self, options: PickupOptions, context: NetworkContext, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._settings = options.settings
        self._paths = options.preferred_first
        self._target = str(options.target)
        self._notify = context.notify
        self._now = now
        self._probes = {path.name: Probe(path.interface, path.probed) for path in self._paths}
        self._state: PathsState | None = None
        self._routed = ""
        self._problems: dict[str, str] = {}
        self._reports: tuple[PathReport, ...] = ()
        self._stopping = threading.Event()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="holdfast-pickup", daemon=True)

    def start(self) -> None:
        """Begin to observe and to switch."""
        self._thread.start()

    def reports(self) -> Sequence[PathReport]:
        """What it saw last; empty until it has looked for the first time."""
        return self._reports

    def stop(self) -> None:
        """End the thread; routes stay as they are."""
        self._stopping.set()
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)
        if self._thread.ident is not None:
            self._thread.join(timeout=5)
        if self._wake >= 0 and not self._thread.is_alive():
            os.close(self._wake)
            self._wake = -1

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._watch()
            except Exception as error:
                # Whatever it was: a storage path without a watch is worse than a watch that starts again.
                log.exception("the watch of %s starts again", self._target)
                self._tell("path.error", f"{self._target}: {type(error).__name__}: {error}")
                self._stopping.wait(_RETRY_SECONDS)

    def _watch(self) -> None:
        events = LinkEvents()
        try:
            with Kernel(self._target, str(self._options.source), self._paths) as kernel:
                self._loop(kernel, events)
        finally:
            events.close()
            for probe in self._probes.values():
                probe.close()

    def _loop(self, kernel: Kernel, events: LinkEvents) -> None:
        probe_at = look_at = self._now()
        while not self._stopping.is_set():
            self._wait(events, max(0.0, probe_at - self._now()))
            now = self._now()
            seen: list[Observation] = []
            looked = events.drain() or now >= look_at
            if looked:
                look_at = now + _SWEEP_SECONDS
                seen += [CarrierSeen(name, up) for name, up in kernel.carriers().items()]
            # Answers are read before a probe is called unanswered: this process may itself have been held up.
            seen += [ProbeSeen(n, ms) for n, probe in self._probes.items() for ms in probe.receive(now)]
            if now >= probe_at:
                probe_at = now + self._settings.probe_interval_seconds
                seen += self._probe(now)
            self._decide(kernel, seen, now, looked)

    def _wait(self, events: LinkEvents, timeout_seconds: float) -> None:
        poll = select.poll()
        for fd in (self._wake, events.fileno(), *(probe.fileno for probe in self._probes.values())):
            if fd is not None:
                poll.register(fd, select.POLLIN)
        poll.poll(timeout_seconds * 1000)

    def _probe(self, now: float) -> list[Observation]:
        missed: list[Observation] = [ProbeSeen(name, None) for name, probe in self._probes.items() if probe.pending]
        for probe in self._probes.values():
            probe.send(now)
        return missed

    def _decide(self, kernel: Kernel, seen: Sequence[Observation], now: float, looked: bool) -> None:
        before = self._state
        if before is None:
            before = start_state([p.name for p in self._paths], kernel.used() or self._paths[0].name, now)
            self._routed = before.active or ""
        self._state, decision = choose_path(before, seen, now, self._settings)
        routed_before = self._routed
        self._routed = decision.active or self._routed
        if looked or self._routed != routed_before:
            self._problems = kernel.prefer(self._routed)
        if decision.switched and decision.active is not None and self._options.close_connections:
            self._close_stuck(before.active)
        self._reports = self._report(self._state)
        self._tell_changes(before, self._state, decision)

    def _close_stuck(self, left: str | None) -> None:
        """Connections that were on a path that failed, or on none; a path left by choice still carries them over."""
        assert self._state is not None
        if left is None or not next(path.works for path in self._state.paths if path.name == left):
            closed = close_connections(self._target)
            log.info("closed %d TCP connections to %s", closed, self._target)

    def _report(self, state: PathsState) -> tuple[PathReport, ...]:
        return tuple(
            PathReport(
                self._target, path.name, path.works, path.name == state.active,
                "; ".join(text for text in (path.reason, self._problems.get(path.name, "")) if text), path.latency_ms,
            )
            for path in state.paths
        )  # fmt: skip

    def _tell_changes(self, before: PathsState, after: PathsState, decision: PathDecision) -> None:
        for old, new in zip(before.paths, after.paths, strict=True):
            if old.works != new.works:
                said = f"{new.name} works" if new.works else f"{new.name} is down: {new.reason}"
                self._tell("path.state", f"{self._target}: {said}")
        if decision.all_lost and decision.switched:
            self._tell("path.all_lost", f"{self._target}: {decision.reason}")
        elif decision.switched:
            self._tell("path.switched", f"{self._target}: {decision.active} is used now: {decision.reason}")

    def _tell(self, kind: str, text: str) -> None:
        try:
            self._notify(kind, text)
        except Exception:
            log.exception("could not tell: %s", text)
