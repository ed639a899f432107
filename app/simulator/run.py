"""Let a story happen and say what came of it."""

from collections.abc import Callable
from dataclasses import dataclass

from app.adapters.sim.store import Change
from app.simulator.cluster import SimCluster
from app.simulator.defects import told_defects
from app.simulator.invariants import Invariants, Violation
from app.simulator.layout import Layout
from app.simulator.perform import perform
from app.simulator.script import Command
from app.simulator.story import Story


@dataclass(frozen=True, slots=True)
class Outcome:
    """The lines of the story, the violation if there was one (else empty), and the virtual seconds that passed."""

    lines: tuple[str, ...]
    violation: str
    seconds: float

    @property
    def text(self) -> str:
        """As it stands in expected.log."""
        return "\n".join(self.lines) + "\n"


def run(layout: Layout, commands: tuple[Command, ...], *, must_settle: bool = False) -> Outcome:
    """The whole story. With `must_settle` the last of the invariants, never gives up, is checked at its end."""
    return run_with(SimCluster, layout, commands, must_settle=must_settle)


def run_with(
    build: Callable[..., SimCluster], layout: Layout, commands: tuple[Command, ...], *, must_settle: bool = False
) -> Outcome:
    """The same with another way to build the cluster."""
    invariants, story = Invariants(), Story()

    def committed(who: str, changes: list[Change]) -> None:
        story.committed(who, changes)
        invariants.committed(who, changes)

    cluster = build(layout, tell=story.tell, committed=committed, started=invariants.started, ring=invariants.ring)
    story.watch(cluster.clock)
    invariants.watch(cluster)
    violation = ""
    with told_defects(invariants.found.append):
        try:
            for command in commands:
                if command.words == ("rest",):
                    _rest(cluster, invariants, command.at)
                else:
                    cluster.run_until(command.at, invariants.check)
                perform(cluster, command)
                invariants.check()
            if must_settle:
                invariants.settled()
        except Violation as error:
            violation = str(error)
            story.tell("!!", f"VIOLATION {violation}")
    return Outcome(tuple(story.lines), violation, cluster.clock.monotonic())


#: how often a cluster that comes to rest is looked at; all must be well at two looks in a row
_LOOK_SECONDS = 5.0


def _rest(cluster: SimCluster, invariants: Invariants, latest: float) -> None:
    """Until all is well, and stays so for a moment. Violation when it is not at the latest."""
    well = 0
    while well < 2:
        now = cluster.clock.monotonic()
        if now >= latest:
            invariants.settled()
            return
        cluster.run_until(min(now + _LOOK_SECONDS, latest), invariants.check)
        well = well + 1 if invariants.all_well() else 0
