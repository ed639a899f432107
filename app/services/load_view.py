"""What the two cores decide on, read in one transaction."""

from collections.abc import Mapping
from datetime import datetime

from app.domain.cluster import ClusterView, IncidentPhase
from app.domain.cluster_settings import ClusterSettings
from app.domain.node import Node
from app.domain.placement_advice import PlacementAdvice
from app.domain.rolling_run import RollingRun
from app.domain.start_gates import dependencies, held_starts, pending
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
        rolling=run if (run := current_run(tx)).active else None,
        advice=advice,
    )


def current_settings(tx: Transaction) -> ClusterSettings:
    """What operators set; the row is there from the first migration on."""
    return tx.settings.get(1) or ClusterSettings()


def current_run(tx: Transaction) -> RollingRun:
    """The newest rolling reboot or upgrade, under way or not."""
    return tx.rollings.get(1) or RollingRun()


def load_desired(tx: Transaction, node: str) -> tuple[Node | None, tuple[Vm, ...], Mapping[int, str], bool]:
    """What an agent needs: its node's row (None before the first report), the VMs assigned to it, which of them must
    not start yet, and whether automation is armed. What else the gates depend on is read only while something of this
    node is to come up.
    """
    rows = tx.nodes.where(name=node)
    mine = tuple(tx.vms.where(node=node))
    return (rows[0] if rows else None), mine, _gates(tx, mine), current_settings(tx).armed


def load_incoming(tx: Transaction, node: str) -> tuple[Vm, ...]:
    """The VMs of other nodes that are migrating to this one."""
    return tuple(tx.vms.where(migrating_to=node))


def _gates(tx: Transaction, mine: tuple[Vm, ...]) -> Mapping[int, str]:
    if not any(pending(vm) for vm in mine):
        return {}
    waits_for = dependencies(mine)
    others = list(tx.vms.where(id=waits_for)) if waits_for else []
    if any(pending(vm) and vm.incident_id is not None for vm in mine):
        open_ids = tuple(i.id for i in tx.incidents.where(phase=OPEN_PHASES))
        others += tx.vms.where(incident_id=open_ids)
    return held_starts(mine, others, current_settings(tx).starts_max)
