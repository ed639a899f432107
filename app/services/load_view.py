"""What the two cores decide on, read in one transaction."""

from datetime import datetime

from app.domain.cluster import ClusterView, IncidentPhase
from app.domain.cluster_settings import ClusterSettings
from app.domain.node import Node
from app.domain.placement_advice import PlacementAdvice
from app.domain.vm import Vm
from app.ports.store import Transaction
from app.services.epoch import current_epoch

OPEN_PHASES = (IncidentPhase.FENCING, IncidentPhase.PLANNING, IncidentPhase.STARTING)


def load_view(tx: Transaction, at: datetime | None = None, advice: PlacementAdvice | None = None) -> ClusterView:
    """Everything a coordinator needs. `at`: now, for what ends by itself; `advice`: what plugins add to placement."""
    return ClusterView(
        nodes=tuple(tx.nodes.where()),
        vms=tuple(tx.vms.where()),
        incidents=tuple(tx.incidents.where(phase=OPEN_PHASES)),
        epoch=current_epoch(tx).epoch,
        groups=tuple(tx.groups.where()),
        settings=current_settings(tx),
        at=at,
        advice=advice,
    )


def current_settings(tx: Transaction) -> ClusterSettings:
    """What operators set; the row is there from the first migration on."""
    return tx.settings.get(1) or ClusterSettings()


def load_desired(tx: Transaction, node: str) -> tuple[Node | None, tuple[Vm, ...]]:
    """What an agent needs: its node's row (None before the first report) and the VMs assigned to it."""
    rows = tx.nodes.where(name=node)
    return (rows[0] if rows else None), tuple(tx.vms.where(node=node))


def load_incoming(tx: Transaction, node: str) -> tuple[Vm, ...]:
    """The VMs of other nodes that are migrating to this one."""
    return tuple(tx.vms.where(migrating_to=node))
