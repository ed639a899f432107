"""What a rolling reboot or upgrade needs next, by the level: the row of the run, and those of the nodes.

    nothing -> DRAINING -> REBOOTING or UPGRADING -> SETTLING -> nothing, with the next node

* A node is begun, and told to reboot or upgrade, only while all the others are well: nobody is lost or away, no
  incident is open, no member of the database lacks anything, and the plan (`rolling`) holds for the cluster as it is.
* What ends REBOOTING is another boot id, what ends UPGRADING is the version that its agent says, whoever brought it
  about: the node's own agent, or an operator. An agent that cannot upgrade its node ends the run at once.
* An upgrade restarts the agent and leaves Corosync alone: the node stays a member, and who is lost meanwhile is lost.
* While it reboots the node counts as one that is shut down in order (`host_shutdown`): nothing runs there, so its
  absence is no loss and nobody fences it.
* A node that takes its VMs back is one that is in again, its database in sync, and well for a while. One that does not
  come back, or comes back sick, ends the run: it stays in maintenance, and an operator is told. A second node is never
  risked for it.
* Disarmed, nothing at all goes on.
"""

from dataclasses import dataclass
from enum import StrEnum

from app.domain.cluster import ClusterView
from app.domain.drain import Leaving, drain_progress
from app.domain.node import Node, NodeRole, NodeState
from app.domain.rolling import RebootStep, at_rest, broken_without, step_for, told
from app.domain.rolling_run import UPGRADE_REFUSED, RollingRun, RunState, RunStep


class Verb(StrEnum):
    """What is to be written: see `services.advance_rolling`."""

    DRAIN = "drain"
    REBOOT = "reboot"
    UPGRADE = "upgrade"
    SETTLE = "settle"
    RETURN = "return"
    STOP = "stop"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Turn:
    """One write about the run. `number`: the `turns` of the row that it was decided on."""

    number: int
    verb: Verb
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class RollingTimes:
    """In seconds: how long a node may take to reboot or upgrade and be well again, and for how long it must be well."""

    reboot_seconds_max: float = 900.0
    settle_seconds: float = 10.0


def next_turn(view: ClusterView, away: frozenset[str], times: RollingTimes) -> Turn | None:
    """The next write, None while there is nothing to do but wait. `away`: nodes that the ring does not have now."""
    run = view.rolling
    if run is None or not run.active or not view.settings.armed:
        return None
    if not run.node:
        verb, node, why = _begin(view, run, away)
    else:
        row = view.node(run.node)
        verb, why = (
            (Verb.STOP, "is not in the cluster any more") if row is None else _go_on(view, run, row, away, times)
        )
        node = run.node
    return Turn(run.turns, verb, node, why) if verb is not None else None


def standing(view: ClusterView, away: frozenset[str] = frozenset()) -> str:
    """What the run waits for now, for those who ask; empty when it is not active."""
    run = view.rolling
    if run is None or not run.active:
        return ""
    if not view.settings.armed:
        return "waits: automation is disarmed"
    node = view.node(run.node)
    if node is None:
        return why_wait(view, "", away)
    match run.step:
        case RunStep.DRAINING:
            progress = drain_progress(view, run.node)
            left = f"{progress.count(Leaving.MOVING)} VMs are moving away, {progress.count(Leaving.WAITING)} wait"
            return (why_wait(view, run.node, away) or "is empty") if progress.done else left
        case RunStep.REBOOTING:
            return f"waits for the reboot of {run.node}: by its agent, or by you where its agent may not do that"
        case RunStep.UPGRADING:
            return (
                f"waits until {run.node}, of version {node.version or 'unknown'}, says {run.version}: upgraded by its"
                " agent, or by you where its agent may not do that"
            )
        case RunStep.SETTLING:
            return f"waits until {run.node} is in again and well: it is {_condition(node)}"


def why_wait(view: ClusterView, besides: str, away: frozenset[str]) -> str:
    """Why no node is begun or rebooted now; empty when that is possible. `besides`: the present one."""
    others = [n for n in view.nodes if n.name != besides]
    gone = sorted(n.name for n in others if n.state is not NodeState.ONLINE or n.name in away)
    if gone:
        return f"waits: {', '.join(gone)} is away"
    if view.incidents:
        return f"waits: the incident of {view.incidents[0].node} is open"
    behind = [n for n in others if not n.database_well]
    if behind:
        return f"waits: the database on {behind[0].name} is {behind[0].database}"
    leaving = [n.name for n in others if n.leaving]
    return f"waits: {leaving[0]} is being shut down" if leaving else ""


def _begin(view: ClusterView, run: RollingRun, away: frozenset[str]) -> tuple[Verb | None, str, str]:
    if run.state is RunState.STOPPING:
        return Verb.STOP, "", "an operator stopped it"
    if not run.pending:
        return Verb.FINISH, "", f"{len(run.rebooted)} nodes were {'upgraded' if run.version else 'rebooted'}"
    if why_wait(view, "", away):
        return None, "", ""
    base, refused = at_rest(view), []
    for name in run.pending:
        step = step_for(base, name, force=run.forced)
        if isinstance(step, RebootStep):
            return Verb.DRAIN, name, f"{len(step.moves)} VMs move away"
        refused.append(step)
    return Verb.STOP, "", told(refused)


def _go_on(
    view: ClusterView, run: RollingRun, node: Node, away: frozenset[str], times: RollingTimes
) -> tuple[Verb | None, str]:
    here = node.state is NodeState.ONLINE and node.name not in away
    if run.step is not RunStep.SETTLING:
        if _through(run, node):
            return Verb.SETTLE, f"runs {run.version}" if run.version else "is up again, by a new boot"
        if not node.evacuating and node.role is not NodeRole.WITNESS:
            return Verb.STOP, f"was returned by an operator before its {_noun(run)}"
    if run.step is RunStep.DRAINING:
        return _emptied(view, run, node, away) if here else (None, "")
    if run.step is RunStep.UPGRADING and UPGRADE_REFUSED in node.health:
        return Verb.STOP, f"cannot be upgraded, its agent says: {node.health}; it stays in maintenance"
    if run.step is RunStep.SETTLING and here and _well(run, node) and _passed(view, run, times.settle_seconds):
        return Verb.RETURN, "is well and takes VMs again"
    if _passed(view, run, times.reboot_seconds_max):
        what, began = _late(run, node)
        return Verb.STOP, f"{what}, {times.reboot_seconds_max:g} s after its {began}; it stays in maintenance"
    return None, ""


def _through(run: RollingRun, node: Node) -> bool:
    """What was wanted of it has happened."""
    return node.version == run.version if run.version else node.boot_id != run.boot_id


def _well(run: RollingRun, node: Node) -> bool:
    return node.health == "ok" and node.database_well and _through(run, node)


def _noun(run: RollingRun) -> str:
    return "upgrade" if run.version else "reboot"


def _late(run: RollingRun, node: Node) -> tuple[str, str]:
    """What is wrong with a node whose time is over, and since when it had that time."""
    if run.step is RunStep.SETTLING:
        return f"is {_condition(node)}", "upgrade" if run.version else "new boot"
    if run.version:
        return f"says version {node.version or 'none'} and not {run.version}", "upgrade was asked for"
    return "did not come back by a new boot", "reboot was asked for"


def _condition(node: Node) -> str:
    database = "" if node.database_well else f", its database {node.database}"
    return f"{node.state.value}, health {node.health}{database}"


def _emptied(view: ClusterView, run: RollingRun, node: Node, away: frozenset[str]) -> tuple[Verb | None, str]:
    """Empty, and still nothing speaks against its reboot or upgrade?"""
    name = node.name
    if node.role is not NodeRole.WITNESS:
        progress = drain_progress(view, name)
        stuck = next((v for v in progress.vms if v.state is Leaving.STUCK), None)
        if stuck is not None:
            return Verb.STOP, f"cannot be emptied: {stuck.name}: {stuck.reason}"
        if not progress.done:
            return None, ""
    if why_wait(view, name, away):
        return None, ""
    breaks = "" if run.forced else broken_without(at_rest(view), name)
    if breaks:
        return Verb.STOP, breaks
    return (Verb.UPGRADE, "is empty and is to upgrade") if run.version else (Verb.REBOOT, "is empty and is to reboot")


def _passed(view: ClusterView, run: RollingRun, seconds: float) -> bool:
    return view.at is not None and run.since is not None and (view.at - run.since).total_seconds() >= seconds
