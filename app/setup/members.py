"""What a member of the cluster does with the layout: invite a node, forget one, leave, tell how all stand."""

import queue
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from app.adapters.cluster_files import places
from app.adapters.cluster_files.follow_layout import FollowLayout
from app.config import Config
from app.domain.errors import Conflict
from app.domain.events import MembershipChanged
from app.domain.layout import Layout, without_member
from app.domain.node import NodeRole
from app.ports.membership import MembershipEvent
from app.services.change_layout import admit_member, current_layout, forget_member, may_go
from app.setup.machine import Machine
from app.setup.parts import build_membership, build_store
from app.setup.steps import Step

#: sections of holdfast.toml that a new node gets as the inviting one has them
SHARED = ("recovery", "fence_devices", "pools", "webhooks", "notify")
MEMBERSHIP_SECONDS = 5.0


def shared_sections(config: Path) -> dict[str, Any]:
    """Those that all nodes have in common."""
    raw = tomllib.loads(config.read_text(encoding="utf-8"))
    return {name: raw[name] for name in SHARED if name in raw}


def admit(
    config: Config, name: str, addresses: tuple[str, ...], role: NodeRole, database: bool | None
) -> Layout:  # fmt: skip
    """Put the node into the layout; this node's files follow at once, the others' within seconds."""
    store = build_store(config)
    try:
        now = datetime.now(UTC)
        layout = store.run(lambda tx: admit_member(tx, name, addresses, role, database, now))
    finally:
        store.close()
    FollowLayout(config.node.name).apply(layout)
    return layout


def forget(config: Config, name: str, *, force: bool = False) -> Layout:
    """Take a node out that is gone for good. Conflict while Corosync sees it; without `force` GuaranteeBroken."""
    if name == config.node.name:
        raise Conflict("this is the node itself: `holdfast cluster leave` takes it out")
    seen = present(config)
    if seen is not None and name in seen.members:
        raise Conflict(f"{name} is alive and in the cluster: run `holdfast cluster leave` there")
    if seen is None or not seen.quorate:
        raise Conflict("this node is not quorate: forget a node from the side that has the majority")
    layout = _forget(config, name, force=force)
    FollowLayout(config.node.name).apply(layout)
    return layout


def _forget(config: Config, name: str, *, force: bool) -> Layout:
    store = build_store(config)
    try:
        now = datetime.now(UTC)
        return store.run(lambda tx: forget_member(tx, name, now, force=force))
    finally:
        store.close()


def leave_steps(config: Config, machine: Machine, *, force: bool = False) -> Iterable[Step]:
    """This node gives up its membership. Its agent ends first, so that it does not report itself again.

    `force`: also where the guarantee is broken by it.
    """
    name = config.node.name

    def stop(*units: str) -> str:
        for unit in units:
            machine.succeeds("systemctl", "--no-reload", "disable", "--now", unit)
        return ""

    def forget_self() -> str:
        _forget(config, name, force=force)
        return ""

    def clean() -> str:
        for path in (
            places.COROSYNC, places.COROSYNC_KEY, places.COROSYNC_UNIT, places.GALERA, places.DATABASE_PKI,
            places.DATABASE_UNIT, places.HOLDFAST,
            # A server that is given away must not take the customers' names along: the others have the state.
            *places.DATABASE_COPY,
        ):  # fmt: skip
            machine.remove(path)
        return "VMs' volumes and logs stay"

    return (
        Step("no VMs here", lambda: _no_vms(config, force=force)),
        Step("agent and API", lambda: stop("holdfast-agent", "holdfast-api")),
        Step("layout and state", forget_self),
        Step("corosync", lambda: stop("corosync")),
        Step("database", lambda: stop("mariadb")),
        Step("files", clean),
    )


def _no_vms(config: Config, *, force: bool) -> str:
    """Before anything is stopped: what would be refused at the end."""
    store = build_store(config)
    try:
        vms = store.run(lambda tx: tx.vms.where(node=config.node.name))
        layout = store.run(current_layout)
        if not (vms or force):
            store.run(lambda tx: may_go(tx, config.node.name, datetime.now(UTC)))
    finally:
        store.close()
    if vms:
        raise Conflict(f"{len(vms)} VM(s) are on this node, {vms[0].name} among them: move or stop them first")
    without_member(layout, config.node.name)  # its refusals, before anything is stopped
    return ""


def present(config: Config) -> MembershipChanged | None:
    """Whom Corosync sees now; None where it does not answer."""
    events: queue.Queue[MembershipEvent] = queue.Queue()
    membership = build_membership(config, agent=False)
    membership.start(events.put)
    try:
        while True:
            event = events.get(timeout=MEMBERSHIP_SECONDS)
            if isinstance(event, MembershipChanged):
                return event
    except queue.Empty:
        return None
    finally:
        membership.stop()


@dataclass(frozen=True)
class MemberStatus:
    """One line of `cluster status`. `state` is the coordinator's word, `corosync` what this node sees."""

    name: str
    id: int
    addresses: tuple[str, ...]
    role: str
    database: bool
    corosync: bool
    state: str
    health: str
    maintenance: bool


@dataclass(frozen=True)
class ClusterStatus:
    """How all stand, as this node sees it."""

    cluster: str
    version: str
    layout_version: int
    quorate: bool
    members: tuple[MemberStatus, ...]
    warnings: tuple[str, ...]


def cluster_status(config: Config) -> ClusterStatus:
    """From the state and from Corosync. StoreUnavailable where no database answers."""
    store = build_store(config)
    try:
        layout, nodes = store.run(lambda tx: (current_layout(tx), {n.name: n for n in tx.nodes.where()}))
    finally:
        store.close()
    seen = present(config)
    here = seen.members if seen else frozenset()
    lines = []
    for m in layout.members:
        row = nodes.get(m.name)
        lines.append(
            MemberStatus(
                m.name, m.id, m.addresses, m.role.value, m.database, m.name in here,
                row.state.value if row else "new", row.health if row else "unknown", bool(row and row.maintenance),
            )
        )  # fmt: skip
    return ClusterStatus(
        layout.name, version("holdfast"), layout.version, bool(seen and seen.quorate), tuple(lines), warnings(layout)
    )


def warnings(layout: Layout) -> tuple[str, ...]:
    """What this layout cannot survive."""
    found = []
    if len(layout.members) < 3:
        found.append(f"{len(layout.members)} node(s): no majority is left when one dies; three are the least")
    holders = len(layout.database_members)
    if len(layout.members) >= 3 and holders % 2 == 0:
        found.append(
            f"{holders} nodes hold the database: make it 3 or 5, an even number survives no more than one less"
        )
    if len(layout.members[0].addresses) < 2:
        found.append("one link between the nodes: a second network would survive a switch")
    return tuple(found)
