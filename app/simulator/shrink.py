"""Make a story that breaks an invariant as short as it can be, and still break the same one.

Delta debugging (Zeller and Hildebrandt, 2002) over the commands, then VMs and nodes that nothing needs any more, then
plain clusters and round times. What repairs the faults at the end stays: without it nothing could come to rest.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from app.simulator.layout import Layout, NodeLayout
from app.simulator.run import run
from app.simulator.script import Command

Commands = tuple[Command, ...]
#: a repair -> the fault that makes it necessary
_REPAIRS = {
    ("thaw",): ("freeze",), ("corosync", "resume"): ("corosync", "hang"), ("agent", "resume"): ("agent", "hang"),
    ("starts", "work"): ("starts", "fail"), ("libvirt", "up"): ("libvirt", "down"), ("upgrade",): ("upgrade",),
    ("storage", "back"): ("storage", "lost"), ("database", "back"): ("database", "lost"),
    ("database", "up"): ("database", "down"), ("start", "works"): ("start", "fails"),
}  # fmt: skip


def kind_of(violation: str) -> str:
    """Which invariant it is: the text without times, numbers and names."""
    return re.sub(r"[+-]?\d+(\.\d+)?s?|\b(n|vm)\d+\b|[\[\](),]", "", violation).strip()


@dataclass
class Shrinker:
    """`runs_left` bounds the work; the best that was found until then is the result."""

    layout: Layout
    commands: Commands
    violation: str
    repairs_from: float
    runs_left: int = 600
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        self.kind = kind_of(self.violation)

    def shrink(self) -> None:
        """Try everything until nothing helps any more."""
        before = None
        while before != (self.layout, self.commands) and self.runs_left > 0:
            before = (self.layout, self.commands)
            self._faults()
            self._needless_repairs()
            self._fewer_vms()
            self._fewer_nodes()
            self._plain_nodes()
            self._round_times()

    def _try(self, layout: Layout, commands: Commands) -> bool:
        """Keep it if it breaks the same invariant, with the same dice or some others."""
        if (layout, commands) == (self.layout, self.commands):
            return False
        for seed in (layout.seed, layout.seed + 1, layout.seed + 2):
            if self.runs_left <= 0:
                return False
            self.runs_left -= 1
            outcome = run(replace(layout, seed=seed), commands, must_settle=True)
            if kind_of(outcome.violation) == self.kind:
                self.layout, self.commands, self.violation = replace(layout, seed=seed), commands, outcome.violation
                return True
        return False

    def _faults(self) -> None:
        size = len(self._of_faults())
        while size >= 1:
            tried = 0
            while tried < len(self._of_faults()):
                faults = self._of_faults()
                gone = {id(c) for c in faults[tried : tried + size]}
                if not self._try(self.layout, tuple(c for c in self.commands if id(c) not in gone)):
                    tried += size
            size //= 2

    def _of_faults(self) -> list[Command]:
        return [c for c in self.commands if c.at < self.repairs_from]

    def _needless_repairs(self) -> None:
        begun = {(c.words, c.about) for c in self._of_faults()}
        kept = [c for c in self.commands if c.at < self.repairs_from or _needed(c, begun)]
        self._try(self.layout, tuple(kept))
        for command in [c for c in self.commands if c.at >= self.repairs_from and c.words == ("power", "on")]:
            self._try(self.layout, tuple(c for c in self.commands if c is not command))

    def _fewer_vms(self) -> None:
        for vm in self.layout.vms:
            self._without(replace(self.layout, vms=tuple(v for v in self.layout.vms if v != vm)), vm.name)

    def _fewer_nodes(self) -> None:
        for node in self.layout.nodes:
            nodes = tuple(n for n in self.layout.nodes if n != node)
            vms = tuple(replace(v, node="" if v.node == node.name else v.node) for v in self.layout.vms)
            if nodes:
                self._without(replace(self.layout, nodes=nodes, vms=vms), node.name)

    def _without(self, layout: Layout, name: str) -> None:
        self._try(layout, tuple(c for c in self.commands if name not in c.about))

    def _plain_nodes(self) -> None:
        for place in range(len(self.layout.nodes)):
            for plain in _PLAINER:
                nodes = list(self.layout.nodes)
                nodes[place] = plain(nodes[place])
                self._try(replace(self.layout, nodes=tuple(nodes)), self.commands)

    def _round_times(self) -> None:
        for place, command in enumerate(self.commands):
            if command.at != round(command.at):
                rounded = (*self.commands[:place], replace(command, at=float(round(command.at))))
                self._try(self.layout, tuple(sorted((*rounded, *self.commands[place + 1 :]), key=lambda c: c.at)))


def _needed(command: Command, begun: set[tuple[tuple[str, ...], tuple[str, ...]]]) -> bool:
    fault = _REPAIRS.get(command.words)
    if fault is not None:
        return (fault, command.about) in begun
    words = {w for w, _ in begun}
    match command.words:
        case ("heal",):
            return bool(words & {("cut",), ("apart",), ("deaf",)})
        case ("signals", "work"):
            return bool(words & {("signals", "lost"), ("signals", "late")})
        case ("fence", "works"):
            return any(w[0] == "fence" and about[:1] == command.about for w, about in begun)
        case ("slow",) | ("database", "mute") | ("database", "conflict"):
            return any(w == command.words and about[:1] == command.about[:1] for w, about in begun)
        case _:
            return True


_PLAINER: tuple[Callable[[NodeLayout], NodeLayout], ...] = (
    lambda n: replace(n, clock_ahead_seconds=0.0, clock_drift_ppm=0.0),
    lambda n: replace(n, outdated=False),
    lambda n: replace(n, memory_mib=4096),
    lambda n: replace(n, fence=True),
    lambda n: replace(n, watchdog_seconds=10.0),
)
