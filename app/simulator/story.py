"""A story: what happened, one line each, in words that an operator knows. `+13.6s  n1        opens an incident ...`."""

from app.adapters.sim.clock import SimClock
from app.adapters.sim.store import Change
from app.domain.cluster import Incident
from app.domain.cluster_settings import ClusterSettings
from app.domain.node import Node, NodeState
from app.domain.policy import END_WORDS, End
from app.domain.vm import Desired, Vm


class Story:
    """Collects the lines of one simulation. The database's changes are told as what they mean."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._clock: SimClock | None = None

    def watch(self, clock: SimClock) -> None:
        """The clock that dates the lines; before it nothing is told."""
        self._clock = clock

    def tell(self, who: str, what: str) -> None:
        """One line."""
        if self._clock is not None:
            when = f"+{self._clock.monotonic():.1f}s"
            self.lines.append(f"{when:>8}  {who:<8}  {what}")

    def committed(self, who: str, changes: list[Change]) -> None:
        """One transaction: its epoch first, then its incidents with their steps, then what is in no incident."""
        told: set[int] = set()
        for change in changes:
            if change.kind == "epochs" and change.before.epoch != change.after.epoch:
                self.tell(who, f"leads, epoch {change.after.epoch}")
        for change in changes:
            if change.kind == "incidents":
                self._incident(who, change.before, change.after, told)
        for change in changes:
            if change.kind == "nodes" and change.before is not None:
                self._node(who, change.before, change.after)
            if change.kind == "settings" and change.before is not None:
                self._settings(change.before, change.after)
            if change.kind == "rollings" and change.before is not None:
                self.tell(who, f"{change.after.title}, {change.after.state.value}: {change.after.said}")
            if change.kind == "vms" and change.before is not None:
                self._vm(who, change.before, change.after, told)

    def _incident(self, who: str, before: Incident | None, after: Incident, told: set[int]) -> None:
        known = len(before.steps) if before is not None else 0
        for step in after.steps[known:]:
            if step.vm_id is not None and step.what in ("assigned", "unplaced"):
                told.add(step.vm_id)
            about = f"VM {step.vm_id} " if step.vm_id is not None else ""
            where = f" to {step.node}" if step.what == "assigned" else ""
            detail = f": {step.detail}" if step.detail else ""
            if step.what != "detected":
                self.tell(who, f"incident {after.id} of {after.node}: {about}{step.what}{where}{detail}")

    def _node(self, who: str, before: Node, after: Node) -> None:
        if before.state is NodeState.FENCED and after.state is NodeState.ONLINE:
            self.tell(who, f"{after.name} is clean and hosts again")
        elif before.state is not after.state:
            self.tell(who, f"{after.name} is {after.state.value}")
        if before.leaving != after.leaving:
            self.tell(
                who, f"{after.name} {'leaves: ' + after.leaving if after.leaving else 'is back from its shutdown'}"
            )
        if before.condition != after.condition and before.state is after.state:
            self.tell(who, f"{after.name} is {after.condition or 'well'} by its heartbeat on the storage")
        if before.health != after.health and after.health != "ok":
            self.tell(who, f"{after.name} is not well: {after.health}")

        if before.quarantined_until is None and after.quarantined_until is not None:
            self.tell(who, f"{after.name} is quarantined: it was lost {len(after.losses)} times")
        elif before.quarantined_until is not None and after.quarantined_until is None:
            self.tell(who, f"{after.name} is out of quarantine")

    def _settings(self, before: ClusterSettings, after: ClusterSettings) -> None:
        if before.armed is not after.armed:
            self.tell("cluster", "is armed again" if after.armed else f"IS DISARMED: {after.disarmed_reason}")

    def _vm(self, who: str, before: Vm, after: Vm | None, told: set[int]) -> None:
        if after is None:
            self.tell(who, f"{before.name} is removed")
            return
        if after.migrating_to != before.migrating_to and after.migrating_to:
            self.tell(who, f"{after.name} is to migrate to {after.migrating_to}: {after.migration.why}")
        if before.migrating_to and not after.migrating_to and after.node == before.node:
            self.tell(who, f"{after.name} stays: {after.migration.error or 'its migration was ended'}")
        if before.migrating_to == after.node is not None and after.generation == before.migration.generation:
            self.tell(who, f"{after.name} belongs to {after.node} now, generation {after.generation}")
        elif before.node != after.node and after.id not in told:
            self.tell(who, f"{after.name} {_move(after)}, generation {after.generation}")
        elif before.unplaced_reason != after.unplaced_reason and after.unplaced_reason and after.id not in told:
            self.tell(who, f"{after.name} is unplaced: {after.unplaced_reason}")
        if after.verified and not before.verified:
            self.tell(who, f"{after.name} is verified up")
        if after.observed.error and after.observed.error != before.observed.error:
            self.tell(who, f"{after.name} is {after.observed.power.value}: {after.observed.error}")
        seen = after.observed
        if seen.ends > before.observed.ends and seen.ended:
            stays = " and stays off" if after.desired is Desired.STOPPED else ""
            self.tell(who, f"{after.name} ended: {END_WORDS[End(seen.ended)]} ({seen.ends_in_a_row} in a row){stays}")


def _move(vm: Vm) -> str:
    if vm.node is not None:
        return f"is placed on {vm.node}"
    return f"is unplaced: {vm.unplaced_reason}" if vm.unplaced_reason else "has no node any more"
