"""What operators' graphs and alerts read of the state, as Prometheus metrics.

Names end in their unit (seconds, bytes); what has none is a count, or 1 for yes and 0 for no. Every API tells the same
of the cluster, so an expression takes `max by (...)` over the scraped nodes. Texts that customers or devices wrote are
in no label but the names of VMs; tokens, secrets and addresses are in none.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from app.domain.cluster import ClusterView, IncidentPhase
from app.domain.cluster_settings import ClusterSettings
from app.domain.node import NodeRole, NodeState
from app.domain.records import Epoch
from app.domain.storage_heartbeat import NodeClass
from app.domain.vm import Status, Vm, status_of
from app.ports.store import Transaction
from app.services.epoch import current_epoch
from app.services.load_view import OPEN_PHASES


def gauge(name: str, says: str, labels: Iterable[str] = ()) -> GaugeMetricFamily:
    """An empty family of gauges; samples are added with `add_metric(label values, value)`."""
    return GaugeMetricFamily(name, says, labels=tuple(labels))


def one(name: str, says: str, value: float) -> GaugeMetricFamily:
    """A family of one sample without labels."""
    family = gauge(name, says)
    family.add_metric((), value)
    return family


def measure_cluster(tx: Transaction, view: ClusterView, now: datetime) -> list[Metric]:
    """Nodes, VMs, incidents, coordinator, fence devices, storage paths, deliveries."""
    return [
        *_nodes(view, now),
        *_vms(view.vms),
        *_incidents(tx, view, now),
        *_coordinator(current_epoch(tx), now),
        *_automation(view.settings, now),
        *_fence_checks(tx, now),
        *_paths(tx),
        *_outbox(tx, now),
    ]


def _nodes(view: ClusterView, now: datetime) -> list[Metric]:
    state = gauge("holdfast_node_state", "1 for the state a node is in, 0 for the others", ("node", "role", "state"))
    healthy = gauge("holdfast_node_healthy", "1 if the node's agent reported no fault of the node", ("node",))
    away = gauge("holdfast_node_maintenance", "1 while the node is in maintenance", ("node",))
    quarantined = gauge("holdfast_node_quarantined", "1 while the node is kept out after many losses", ("node",))
    found = gauge(
        "holdfast_node_condition", "1 for what the heartbeat over the storage says of a node, 0 for the rest",
        ("node", "condition"),
    )  # fmt: skip
    memory = gauge("holdfast_node_memory_bytes", "Memory that may be promised to VMs, in bytes", ("node",))
    promised = gauge("holdfast_node_memory_promised_bytes", "Memory promised to VMs, in bytes", ("node",))
    totals = {(role, s): 0 for role in NodeRole for s in NodeState}
    used: Counter[str] = Counter()
    for vm in view.vms:
        if vm.node is not None and vm.wants_to_run:
            used[vm.node] += vm.memory_mib
    for node in view.nodes:
        totals[node.role, node.state] += 1
        for s in NodeState:
            state.add_metric((node.name, node.role.value, s.value), node.state is s)
        for c in NodeClass:
            if c is not NodeClass.WELL:
                found.add_metric((node.name, c.value), node.condition == c)
        healthy.add_metric((node.name,), node.health in ("ok", "unknown"))
        away.add_metric((node.name,), node.maintenance)
        quarantined.add_metric((node.name,), node.quarantined_until is not None and node.quarantined_until > now)
        memory.add_metric((node.name,), node.memory_mib * 2**20)
        promised.add_metric((node.name,), used[node.name] * 2**20)
    count = gauge("holdfast_nodes", "Number of nodes by role and state", ("role", "state"))
    for (role, s), number in totals.items():
        count.add_metric((role.value, s.value), number)
    return [count, state, found, healthy, away, quarantined, memory, promised]


def _vms(vms: Sequence[Vm]) -> list[Metric]:
    count = gauge("holdfast_vms", "Number of VMs by status", ("status",))
    by_status = Counter(map(status_of, vms))
    for status in Status:
        count.add_metric((status.value,), by_status[status])
    info = gauge(
        "holdfast_vm_info", "1 for each VM; joins its name to libvirt's domain", ("domain", "vm_id", "vm", "project_id")
    )
    for vm in vms:
        info.add_metric((f"hf-{vm.id}", str(vm.id), vm.name, str(vm.project_id)), 1)
    moving = one(
        "holdfast_vms_migrating", "Number of VMs in a live migration", sum(v.migrating_to is not None for v in vms)
    )
    return [count, info, moving]


def _incidents(tx: Transaction, view: ClusterView, now: datetime) -> list[Metric]:
    rows = view.incidents
    count = gauge("holdfast_incidents_open", "Number of recoveries under way by phase", ("phase",))
    by_phase = Counter(row.phase for row in rows)
    for phase in OPEN_PHASES:
        count.add_metric((phase.value,), by_phase[phase])
    oldest = max(((now - row.opened_at).total_seconds() for row in rows), default=0.0)
    total = tx.incidents.page(page=1, per_page=1).total
    closed = tx.incidents.page(page=1, per_page=1, phase=IncidentPhase.CLOSED).total
    return [
        count,
        one(
            "holdfast_incident_open_oldest_age_seconds", "Age of the oldest open incident, in seconds; 0: none", oldest
        ),
        one("holdfast_incidents", "Number of incidents that the state keeps, open ones too", total),
        one("holdfast_incidents_closed", "Number of closed incidents that the state keeps", closed),
    ]


def _coordinator(row: Epoch, now: datetime) -> list[Metric]:
    who = gauge("holdfast_coordinator", "1 for the node whose agent holds the coordinator's epoch", ("node",))
    if row.holder:
        who.add_metric((row.holder,), 1)
    age = (now - row.since).total_seconds() if row.since else 0.0
    return [
        one("holdfast_coordinator_epoch", "The coordinator's epoch; it grows with every election", row.epoch),
        one("holdfast_coordinator_age_seconds", "Time since the present epoch was won, in seconds", max(0.0, age)),
        who,
    ]


def _automation(settings: ClusterSettings, now: datetime) -> list[Metric]:
    since = settings.disarmed_at if not settings.armed else None
    return [
        one("holdfast_disarmed", "1 while automation is disarmed: nothing is recovered by itself", not settings.armed),
        one(
            "holdfast_disarmed_seconds",
            "Time since automation was disarmed, in seconds; 0 while it is armed",
            max(0.0, (now - since).total_seconds()) if since else 0.0,
        ),
    ]


def _fence_checks(tx: Transaction, now: datetime) -> list[Metric]:
    labels = ("node", "method", "checked_from")
    failing = gauge("holdfast_fence_check_failing", "1 if the fence devices of a node could not be read", labels)
    age = gauge("holdfast_fence_check_age_seconds", "Time since fence devices were read, in seconds", labels)
    for row in tx.fence_checks.where():
        values = (row.node, row.method, row.checked_from)
        failing.add_metric(values, not row.works)
        age.add_metric(values, max(0.0, (now - row.checked_at).total_seconds()))
    return [failing, age]


def _paths(tx: Transaction) -> list[Metric]:
    labels = ("node", "target", "path")
    up = gauge("holdfast_storage_path_up", "1 if the storage path works", labels)
    active = gauge("holdfast_storage_path_active", "1 if the storage traffic takes this path", labels)
    latency = gauge("holdfast_storage_path_latency_seconds", "Round trip of the last probe, in seconds", labels)
    for row in tx.paths.where():
        values = (row.node, row.target, row.name)
        up.add_metric(values, row.up)
        active.add_metric(values, row.active)
        if row.latency_ms is not None:
            latency.add_metric(values, row.latency_ms / 1000)
    return [up, active, latency]


def _outbox(tx: Transaction, now: datetime) -> list[Metric]:
    """Counted by the database: a backlog may be long."""

    def count(equals: dict[str, Any]) -> int:
        return tx.outbox.page(page=1, per_page=1, delivered_at=None, **equals).total

    undelivered, given_up, untried = count({}), count({"next_try": None}), count({"attempts": 0})
    # Those that were given up sort first, having no next try; the oldest that still waits stands behind them.
    waiting = tx.outbox.page(page=given_up + 1, per_page=1, sort="next_try", delivered_at=None).rows
    overdue = max(((now - m.next_try).total_seconds() for m in waiting if m.next_try is not None), default=0.0)
    oldest = tx.outbox.page(page=1, per_page=1, sort="created", delivered_at=None).rows
    age = max(((now - m.created).total_seconds() for m in oldest), default=0.0)
    disabled = tx.endpoints.page(page=1, per_page=1, disabled=True).total
    return [
        one("holdfast_outbox_pending", "Number of events that wait for a delivery", undelivered - given_up),
        one("holdfast_outbox_failing", "Number of undelivered events that were tried in vain", undelivered - untried),
        one("holdfast_outbox_given_up", "Number of events that are tried no more; replay them by hand", given_up),
        one("holdfast_outbox_oldest_age_seconds", "Age of the oldest undelivered event, in seconds; 0: none", age),
        one("holdfast_outbox_overdue_seconds", "How long the next try is overdue, in seconds", max(0.0, overdue)),
        one("holdfast_endpoints_disabled", "Number of endpoints that are told nothing", disabled),
    ]
