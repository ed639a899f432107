"""Nodes come and go: the cluster's layout changes in one transaction, and each node's files follow it."""

from dataclasses import replace
from datetime import datetime

from app.domain.errors import Conflict, NotFound
from app.domain.layout import Layout, with_member, without_member
from app.domain.node import NodeRole, NodeState
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.hold_guarantee import hold_guarantee_for_good
from app.services.load_view import load_view


def current_layout(tx: Transaction) -> Layout:
    """NotFound in a cloud that no `cluster init` made."""
    rows = tx.layouts.where()
    if not rows:
        raise NotFound("this cloud has no layout: `holdfast cluster init` makes one")
    return rows[0]


def admit_member(
    tx: Transaction, name: str, addresses: tuple[str, ...], role: NodeRole, database: bool | None, now: datetime
) -> Layout:
    """The layout with this node. The same node again changes nothing; Conflict, InvalidInput as in `with_member`, and
    Conflict where the members that are here would be no majority until it is in.
    """
    old = current_layout(tx)
    new = with_member(old, name, addresses, role, database=database)
    if new != old:
        _stay_quorate(tx, old, new)
        tx.layouts.save(new)
        tx.events.add(ClusterEvent(0, now, "node.admitted", f"{name} becomes a member of {new.name}", node=name))
    return new


def _stay_quorate(tx: Transaction, old: Layout, new: Layout) -> None:
    """The new member's vote counts from now on, and it is not here yet."""
    majority = len(new.members) // 2 + 1
    here = sum(old.member(n.name) is not None for n in tx.nodes.where(state=NodeState.ONLINE))
    running = [v.name for v in tx.vms.where() if v.wants_to_run]
    if here < majority and running:
        raise Conflict(
            f"{here} of {len(old.members)} members are here, and {majority} of {len(new.members)} will be the majority:"
            f" until the new one is in, the {len(running)} VM(s) that run, {running[0]} among them, would be paused and"
            " then ended. Bring the missing nodes back, or stop the VMs until the join has ended"
        )


def may_go(tx: Transaction, name: str, now: datetime) -> None:
    """GuaranteeBroken if the cluster without this node, and its vote, could not keep what was promised.

    One that is lost has taken both with it: to forget it is to tell the truth, and is never refused.
    """
    view = load_view(tx, now)
    node = view.node(name)
    if node is not None and node.state is NodeState.ONLINE:
        hold_guarantee_for_good(tx, replace(view, nodes=tuple(n for n in view.nodes if n.name != name)), name)


def forget_member(tx: Transaction, name: str, now: datetime, *, force: bool = False) -> Layout:
    """The layout without this node, and nothing of it in the state. NotFound for a name that is in neither.

    Conflict while VMs are assigned to it: those of a lost node need a proof and a recovery first, those of a living one
    must be moved. Without `force` GuaranteeBroken, see `may_go`. Its id is never given to another node.
    """
    old = current_layout(tx)
    rows = tx.nodes.where(name=name)
    if old.member(name) is None and not rows:
        raise NotFound(f"there is no node {name}")
    if vms := tx.vms.where(node=name):
        raise Conflict(
            f"{len(vms)} VM(s) are assigned to {name}, {vms[0].name} among them: drain it, or if it is lost let the"
            " recovery end (it waits for a proof that the node is dead)"
        )
    if not force:
        may_go(tx, name, now)
    new = without_member(old, name)
    if new != old:
        tx.layouts.save(new)
    for row in rows:
        tx.nodes.remove(row.id)
    for path in tx.paths.where(node=name):
        tx.paths.remove(path.id)
    for check in (*tx.fence_checks.where(node=name), *tx.fence_checks.where(checked_from=name)):
        tx.fence_checks.remove(check.id)
    tx.events.add(ClusterEvent(0, now, "node.forgotten", f"{name} is no member any more", node=name))
    return new
