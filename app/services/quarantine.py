"""Flapping nodes: losses are counted, and a node that is lost too often is kept out for a while.

A quarantined node that was fenced does not rejoin. One that came back before that has its VMs still: it takes no more,
and those migrate away, as from a node that is drained.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from app.domain.node import Node
from app.domain.records import ClusterEvent
from app.ports.store import Transaction
from app.services.emit_event import emit_event
from app.services.epoch import hold_armed_epoch
from app.services.find_node import find_node
from app.services.load_view import current_settings


def note_loss(tx: Transaction, node: Node, now: datetime) -> Node:
    """The node with this loss among its recent ones, quarantined if that makes too many. The caller saves it."""
    settings = current_settings(tx)
    since = now - timedelta(seconds=settings.quarantine_window_seconds)
    losses = (*(at for at in node.losses if at > since), now)
    if not 0 < settings.quarantine_losses <= len(losses):
        return replace(node, losses=losses)
    until = now + timedelta(seconds=settings.quarantine_seconds)
    text = f"{node.name} was lost {len(losses)} times within {settings.quarantine_window_seconds:g} s"
    tx.events.add(ClusterEvent(0, now, "node.quarantined", f"{text}: kept out until {until:%F %T} UTC", node=node.name))
    emit_event(tx, "node.quarantined", {"node": node.name, "until": until.isoformat(), "reason": text}, now)
    return replace(node, losses=losses, quarantined_until=until)


def end_quarantine(tx: Transaction, epoch: int, name: str, now: datetime) -> None:
    """Its time is over: the coordinator lets it go."""
    hold_armed_epoch(tx, epoch)
    node = find_node(tx, name)
    if node.quarantined_until is not None and node.quarantined_until <= now:
        _release(tx, node, "its time is over", now)


def release_node(tx: Transaction, name: str, by: str, now: datetime) -> Node:
    """An operator lets it go, and its losses are forgotten; NotFound if there is none of that name."""
    node = find_node(tx, name)
    return _release(tx, node, f"released by {by}", now) if node.quarantined_until is not None or node.losses else node


def _release(tx: Transaction, node: Node, why: str, now: datetime) -> Node:
    # `placements` grows so that a placement that looks at this node right now collides and looks again
    free = replace(node, quarantined_until=None, losses=(), placements=node.placements + 1)
    tx.nodes.save(free)
    if node.quarantined_until is not None:
        tx.events.add(ClusterEvent(0, now, "node.released", f"{node.name} may host again: {why}", node=node.name))
        emit_event(tx, "node.released", {"node": node.name, "reason": why}, now)
    return free
