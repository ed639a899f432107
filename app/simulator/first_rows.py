"""The rows that a simulated cluster has before its first start, as an installed one has them."""

from dataclasses import replace
from datetime import datetime

from app.domain.node import Node
from app.domain.placement_group import PlacementGroup
from app.domain.policy import HaClass, HaPolicy, PlacementNeeds
from app.domain.records import Image
from app.domain.vm import Desired, Vm
from app.ports.store import Transaction
from app.services.load_view import current_settings
from app.simulator.layout import Layout, VmLayout


def first_rows(tx: Transaction, layout: Layout, now: datetime) -> None:
    """Settings, the image, nodes, groups and VMs of that layout."""
    old = current_settings(tx)
    tx.settings.save(
        replace(
            old, storm_share=layout.storm_share, quarantine_losses=layout.quarantine_losses,
            quarantine_seconds=layout.quarantine_seconds, starts_max=layout.cluster_starts_max or old.starts_max,
            isolated_then=layout.isolated_then, isolated_keep_seconds=layout.isolated_keep_seconds,
            strategy=layout.strategy, memory_overcommit=layout.memory_overcommit,
            cpu_overcommit=layout.cpu_overcommit, rebalance=layout.rebalance,
        )
    )  # fmt: skip
    tx.images.add(Image(0, "image", "pool", "image", 1, now))
    for n in layout.nodes:
        row = Node(
            0, n.name, n.name, n.role, memory_mib=n.memory_mib, cores=n.cores, watchdog_seconds=n.watchdog_seconds,
            rack=n.rack, tags=n.tags, pools=n.pools, networks=n.networks, cpu_models=n.cpu_models,
        )  # fmt: skip
        tx.nodes.add(row)
    for g in layout.groups:
        tx.groups.add(PlacementGroup(0, 1, g.name, g.kind, g.domain))
    for v in layout.vms:
        tx.vms.add(_vm(v, now))


def _vm(v: VmLayout, now: datetime) -> Vm:
    desired = Desired.RUNNING if v.running else Desired.STOPPED
    return Vm(
        0, v.name, 1, "plan", v.cores, v.memory_mib, 10, "image", v.pool, now, desired, priority=v.priority,
        node=v.node or None, generation=1 if v.node else 0, ha=_ha(v), local=v.local,
        needs=PlacementNeeds(v.tags, v.avoid_tags, v.networks, v.cpu_model, v.groups),
    )  # fmt: skip


def _ha(vm: VmLayout) -> HaPolicy:
    """`ha_class` is also a key of its own."""
    return vm.ha if vm.ha_class is HaClass.GUARANTEED else replace(vm.ha, ha_class=vm.ha_class)
