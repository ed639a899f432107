"""An operator asks for a rolling reboot: refused as a whole when one of the nodes cannot go."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from app.domain.rolling import RollingPlan, plan_rolling, told
from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.ports.store import Transaction
from app.services.advance_rolling import save_run
from app.services.epoch import current_epoch
from app.services.find_node import find_node
from app.services.load_view import current_run, load_view
from app.services.refusals import WrongState


def ask_rolling(tx: Transaction, names: Sequence[str], now: datetime, *, force: bool = False) -> RollingPlan:
    """What it would do; all nodes where none is named. NotFound."""
    for name in names:
        find_node(tx, name)
    return plan_rolling(load_view(tx, now), names, force=force, last=current_epoch(tx).holder)


def start_rolling(tx: Transaction, names: Sequence[str], now: datetime, *, force: bool = False) -> RollingRun:
    """The coordinator does the rest. WrongState names the nodes that cannot go, or the run that is under way."""
    old = current_run(tx)
    if old.active:
        raise WrongState(f"a rolling reboot is under way ({old.said}): stop it first, or let it end")
    plan = ask_rolling(tx, names, now, force=force)
    if plan.refused:
        rest = ", ".join(s.node for s in plan.steps)
        go = f"These can go: {rest}; name them to reboot only those" if rest else "No node can go"
        raise WrongState(f"{told(plan.refused)}. {go}")
    order = tuple(s.node for s in plan.steps)
    run = RollingRun(old.id, RunState.RUNNING, order, started=now, since=now, forced=force, turns=old.turns)
    return save_run(tx, replace(run, step=RunStep.DRAINING, said=f"begins, in this order: {', '.join(order)}"), now)
