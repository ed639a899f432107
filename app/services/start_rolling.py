"""An operator asks for a rolling reboot or upgrade: refused as a whole when one of the nodes cannot go."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.rolling import RollingPlan, plan_rolling, told, versions_besides
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.ports.store import Transaction
from app.services.advance_rolling import save_run
from app.services.epoch import current_epoch
from app.services.find_node import find_node
from app.services.load_view import current_run, load_view
from app.services.refusals import WrongState


def ask_rolling(tx: Transaction, names: Sequence[str], now: datetime, *, force: bool = False) -> RollingPlan:
    """What a reboot would do; all nodes where none is named. NotFound."""
    for name in names:
        find_node(tx, name)
    return plan_rolling(load_view(tx, now), names, force=force, last=current_epoch(tx).holder)


def ask_upgrade(
    tx: Transaction, version: str, names: Sequence[str], now: datetime, *, force: bool = False
) -> RollingPlan:
    """What an upgrade would do: nodes that run that version already are left out. NotFound; WrongState where there
    would be three versions at the same time.
    """
    wanted = [find_node(tx, name) for name in names] or list(tx.nodes.where())
    others = versions_besides(version, tx.nodes.where())
    if len(others) > 1:
        raise WrongState(f"the nodes run {' and '.join(others)}: finish the upgrade to one of them first")
    left = [node.name for node in wanted if node.version != version]
    return ask_rolling(tx, left, now, force=force) if left else RollingPlan()


def start_rolling(tx: Transaction, names: Sequence[str], now: datetime, *, force: bool = False) -> RollingRun:
    """The coordinator does the rest. WrongState names the nodes that cannot go, or the run that is under way."""
    old = _none_under_way(tx)
    return _begin(tx, old, "", ask_rolling(tx, names, now, force=force), now, force=force)


def start_upgrade(
    tx: Transaction, version: str, names: Sequence[str], now: datetime, *, force: bool = False
) -> RollingRun:
    """The coordinator does the rest. Said again it is the run that is under way, or one of what is left; a run of
    nothing is done at once. WrongState as `start_rolling`, and see `ask_upgrade`.
    """
    old = current_run(tx)
    if old.active and old.version == version:
        return old
    old = _none_under_way(tx)
    plan = ask_upgrade(tx, version, names, now, force=force)
    if plan.steps or plan.refused:
        return _begin(tx, old, version, plan, now, force=force)
    said = f"all nodes run {version}" if not names else f"{', '.join(names)} run {version} already"
    done = RollingRun(old.id, RunState.DONE, started=now, since=now, said=said, turns=old.turns, version=version)
    return done if (old.state, old.version) == (RunState.DONE, version) else save_run(tx, done, now)


def _none_under_way(tx: Transaction) -> RollingRun:
    old = current_run(tx)
    if old.active:
        raise WrongState(f"a {old.title} is under way ({old.said}): stop it first, or let it end")
    return old


def _begin(
    tx: Transaction, old: RollingRun, version: str, plan: RollingPlan, now: datetime, *, force: bool
) -> RollingRun:
    if plan.refused:
        rest = ", ".join(s.node for s in plan.steps)
        verb = "upgrade" if version else "reboot"
        go = f"These can go: {rest}; name them to {verb} only those" if rest else "No node can go"
        raise WrongState(f"{told(plan.refused)}. {go}")
    order = tuple(s.node for s in plan.steps)
    run = RollingRun(
        old.id, RunState.RUNNING, order, started=now, since=now, forced=force, turns=old.turns, version=version
    )
    return save_run(tx, replace(run, step=RunStep.DRAINING, said=f"begins, in this order: {', '.join(order)}"), now)
