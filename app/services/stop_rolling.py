"""An operator stops a rolling reboot or upgrade: a drain is taken back; a node that may be on its way is waited for."""

from dataclasses import replace
from datetime import datetime

from app.domain.rolling_run import RollingRun, RunState, RunStep
from app.ports.store import Transaction
from app.services.advance_rolling import save_run
from app.services.load_view import current_run
from app.services.return_node import return_node


def stop_rolling(tx: Transaction, now: datetime) -> RollingRun:
    """The run as it is now. Said twice, or with none under way, it changes nothing."""
    old = current_run(tx)
    if old.state is not RunState.RUNNING:
        return old
    if old.node and old.step is not RunStep.DRAINING:
        said = f"an operator stops it after {old.node}, whose {'upgrade' if old.version else 'reboot'} may have begun"
        return save_run(tx, replace(old, state=RunState.STOPPING, pending=(), said=said), now)
    if old.node:
        return_node(tx, old.node, now)
    stopped = replace(old, state=RunState.STOPPED, node="", boot_id="", since=now, said="an operator stopped it")
    return save_run(tx, stopped, now)
