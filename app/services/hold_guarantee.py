"""The operator's promise: `guarantee` node failures stay survivable. What would break it is refused."""

from dataclasses import replace
from datetime import datetime

from app.domain.capacity import broken_promise, storm_limit, votes_to_spare
from app.domain.cluster import ClusterView
from app.domain.errors import GuaranteeBroken, InvalidInput
from app.domain.records import ClusterEvent
from app.domain.vm import Desired, Vm
from app.domain.what_if import drained
from app.ports.store import Transaction
from app.services.load_view import load_view


def hold_guarantee(tx: Transaction, after: ClusterView, what: str) -> None:
    """GuaranteeBroken if the cluster as it would be `after` the request cannot keep the promise.

    Two requests that are good one by one may be too much together: each that is let in touches the row of the first
    node, so that of two on two members of the database one goes again and looks anew.
    """
    failures = after.settings.guarantee
    if not failures:
        return
    broken = broken_promise(after, failures)
    if broken:
        raise GuaranteeBroken(f"{what} would break the guarantee of {_failures(failures)}: {broken}")
    first = min(tx.nodes.where(), key=lambda n: n.id, default=None)
    if first is not None:
        tx.nodes.save(replace(first, placements=first.placements + 1))


def hold_guarantee_with(tx: Transaction, view: ClusterView, vm: Vm, node: str) -> None:
    """The same for one VM that is to run on that node."""
    running = replace(vm, node=node, desired=Desired.RUNNING)
    others = tuple(v for v in view.vms if v.id != vm.id)
    hold_guarantee(tx, replace(view, vms=(*others, running)), f"running {vm.name}")


def hold_guarantee_without(tx: Transaction, view: ClusterView, node: str) -> None:
    """The same for a node that is to take no VMs for a while: with its VMs still there, and once they have moved."""
    closed = tuple(replace(n, maintenance=True) if n.name == node else n for n in view.nodes)
    what = f"closing {node}"
    hold_guarantee(tx, replace(view, nodes=closed), what)
    hold_guarantee(tx, drained(view, node), what)


def hold_guarantee_for_good(tx: Transaction, after: ClusterView, node: str) -> None:
    """The same for a node that is to be no member any more: its vote goes with it. `after` is without it."""
    failures, left = after.settings.guarantee, len(after.nodes)
    what = f"taking {node} out of the cluster"
    if failures and votes_to_spare(after) < failures:
        broken = f"of {left} nodes no {failures} can fail without the loss of quorum"
        raise GuaranteeBroken(f"{what} would break the guarantee of {_failures(failures)}: {broken}")
    hold_guarantee(tx, after, what)


def note_broken_guarantee(tx: Transaction, what: str, now: datetime, *, without: str = "") -> None:
    """A fact cannot be refused; that the promise does not hold any more is written down for the operator.

    `without`: a node that is about to go, with its VMs on the others.
    """
    view = load_view(tx, now)
    if without:
        view = drained(view, without)
    failures = view.settings.guarantee
    broken = broken_promise(view, failures)
    if broken:
        text = f"the guarantee of {_failures(failures)} is not kept, for {what}: {broken}"
        tx.events.add(ClusterEvent(0, now, "guarantee.broken", text))


def check_new_guarantee(view: ClusterView) -> None:
    """InvalidInput if the settings in this view promise more than the cluster can keep."""
    failures = view.settings.guarantee
    if not failures:
        return
    votes, storm = votes_to_spare(view), storm_limit(view)
    if votes < failures:
        raise InvalidInput("guarantee", f"after the loss of {votes + 1} of {len(view.nodes)} nodes there is no quorum")
    if storm < failures:
        raise InvalidInput(
            "guarantee",
            f"with storm_share {view.settings.storm_share:g} no more than {storm} nodes are fenced at once",
        )
    broken = broken_promise(view, failures)
    if broken:
        raise InvalidInput("guarantee", f"{_failures(failures)} cannot be promised: {broken}")


def _failures(count: int) -> str:
    return "1 node failure" if count == 1 else f"{count} node failures"
