"""One turn of a rolling reboot or upgrade in one transaction: the row of the run, and the node that it is about."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from app.domain.errors import Conflict
from app.domain.host_shutdown import ShutdownPolicy
from app.domain.node import NodeRole
from app.domain.records import ClusterEvent
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.domain.rolling_steps import Turn, Verb
from app.ports.store import Transaction
from app.services.drain_node import drain_node
from app.services.epoch import hold_epoch
from app.services.find_node import find_node
from app.services.load_view import current_run
from app.services.return_node import return_node


def advance_rolling(tx: Transaction, epoch: int, turn: Turn, now: datetime) -> None:
    """Conflict when the run has gone on, or was stopped, since the turn was decided: look again."""
    hold_epoch(tx, epoch)
    old = current_run(tx)
    if old.turns != turn.number or not old.active:
        raise Conflict("the rolling run has changed since this was decided")
    said = f"{turn.node} {turn.why}" if turn.node else turn.why
    save_run(tx, _VERBS[turn.verb](tx, replace(old, said=said), turn, now), now)


def save_run(tx: Transaction, run: RollingRun, now: datetime) -> RollingRun:
    """Write it, and tell it as an event."""
    new = replace(run, turns=run.turns + 1)
    tx.rollings.save(new)
    tx.events.add(ClusterEvent(0, now, "cluster.rolling", f"{new.title}, {new.state.value}: {new.said}", node=new.node))
    return new


def _drain(tx: Transaction, run: RollingRun, turn: Turn, now: datetime) -> RollingRun:
    node = find_node(tx, turn.node)
    if node.role is not NodeRole.WITNESS:
        drain_node(tx, turn.node, now, force=True)  # the plan has judged what it means for the guarantee
    left = tuple(n for n in run.pending if n != turn.node)
    return replace(run, pending=left, node=turn.node, step=RunStep.DRAINING, boot_id=node.boot_id, since=now)


def _reboot(tx: Transaction, run: RollingRun, turn: Turn, now: datetime) -> RollingRun:
    """From here on its absence is no loss, and its agent may end this boot of it."""
    node = find_node(tx, turn.node)
    leaving = ShutdownPolicy.MIGRATE.value
    tx.nodes.save(replace(node, leaving=leaving, reboot_of=run.boot_id, placements=node.placements + 1))
    return replace(run, step=RunStep.REBOOTING, since=now)


def _upgrade(tx: Transaction, run: RollingRun, turn: Turn, now: datetime) -> RollingRun:
    """From here on its agent may upgrade it. It stays a member, and in maintenance."""
    tx.nodes.save(replace(find_node(tx, turn.node), upgrade_to=run.version))
    return replace(run, step=RunStep.UPGRADING, since=now)


def _settle(tx: Transaction, run: RollingRun, turn: Turn, now: datetime) -> RollingRun:
    node = find_node(tx, turn.node)
    if node.upgrade_to:
        tx.nodes.save(replace(node, upgrade_to=""))
    return replace(run, step=RunStep.SETTLING, since=now)


def _return(tx: Transaction, run: RollingRun, turn: Turn, now: datetime) -> RollingRun:
    return_node(tx, turn.node, now)
    return replace(run, rebooted=(*run.rebooted, turn.node), node="", boot_id="", since=now)


def _stop(tx: Transaction, run: RollingRun, turn: Turn, now: datetime) -> RollingRun:
    """A node that was only being emptied takes VMs again; one that may be on its way is left to an operator."""
    for node in tx.nodes.where(name=turn.node) if turn.node else ():
        if run.step is RunStep.DRAINING:
            return_node(tx, turn.node, now)
        elif node.reboot_of or node.upgrade_to:
            tx.nodes.save(replace(node, reboot_of="", upgrade_to=""))
    return replace(run, state=RunState.STOPPED, node="", boot_id="", since=now)


def _finish(_tx: Transaction, run: RollingRun, _turn: Turn, now: datetime) -> RollingRun:
    return replace(run, state=RunState.DONE, since=now)


_VERBS: dict[Verb, Callable[[Transaction, RollingRun, Turn, datetime], RollingRun]] = {
    Verb.DRAIN: _drain, Verb.REBOOT: _reboot, Verb.UPGRADE: _upgrade, Verb.SETTLE: _settle,
    Verb.RETURN: _return, Verb.STOP: _stop, Verb.FINISH: _finish,
}  # fmt: skip
