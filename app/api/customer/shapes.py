"""Values of the domain in the shapes of the customers' tools. Every field that they require is there.

What the product does not have yet (prices, addresses, volumes, traffic) is empty or null, as the contract allows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.api.customer.status import customer_status, extra_status
from app.api.deps import ApiSettings
from app.domain.placement_group import PlacementGroup
from app.domain.records import ApiAction, Image, Plan
from app.domain.vm import Vm
from app.ports.store import Transaction

Json = dict[str, Any]
_FLAVORS = ("ubuntu", "centos", "debian", "fedora", "rocky", "alma", "opensuse")
LOCATION_ID = 1


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The plans and images that servers are shown with, by name."""

    plans: Mapping[str, Plan]
    images: Mapping[str, Image]
    settings: ApiSettings
    groups: Mapping[tuple[int, str], Json] = field(default_factory=dict)


def catalogue_for(tx: Transaction, vms: Iterable[Vm], settings: ApiSettings) -> Catalogue:
    """What those VMs need."""
    rows = list(vms)
    plans = tx.plans.where(name=tuple({v.plan for v in rows}))
    images = tx.images.where(name=tuple({v.image for v in rows}))
    named = tuple({name for v in rows for name in v.needs.groups})
    groups = {(g.project_id, g.name): placement_group(tx, g) for g in (tx.groups.where(name=named) if named else ())}
    return Catalogue({p.name: p for p in plans}, {i.name: i for i in images}, settings, groups)


def server(vm: Vm, catalogue: Catalogue) -> Json:
    """A server. Plan and image as they are now; a plan that is gone is shown with the VM's own figures."""
    plan = catalogue.plans.get(vm.plan) or Plan(LOCATION_ID, vm.plan, vm.cores, vm.memory_mib, vm.disk_gib)
    shown = catalogue.images.get(vm.image)
    return {
        "id": vm.id,
        "name": vm.name,
        "status": customer_status(vm),
        "holdfast": extra_status(vm),
        "created": vm.created.isoformat(),
        "public_net": {"ipv4": None, "ipv6": None, "floating_ips": [], "firewalls": []},
        "private_net": [],
        "server_type": server_type(plan, catalogue.settings),
        "datacenter": datacenter(catalogue.settings, [plan.id]),
        "location": location(catalogue.settings),
        "image": image(shown) if shown else None,
        "iso": None,
        "rescue_enabled": False,
        "locked": vm.locked,
        "backup_window": None,
        "outgoing_traffic": None,
        "ingoing_traffic": None,
        "included_traffic": None,
        "protection": {"delete": False, "rebuild": False},
        "labels": dict(vm.labels),
        "volumes": [],
        "load_balancers": [],
        "primary_disk_size": vm.disk_gib,
        "placement_group": catalogue.groups.get((vm.project_id, vm.needs.groups[0])) if vm.needs.groups else None,
    }


def placement_group(tx: Transaction, row: PlacementGroup) -> Json:
    """A group with the ids of its servers. Operators can make other kinds; the tools know spread alone."""
    servers = [v.id for v in tx.vms.where(project_id=row.project_id) if row.name in v.needs.groups]
    return {
        "id": row.id,
        "name": row.name,
        "labels": dict(row.labels),
        "type": row.kind.value,
        "created": row.created.isoformat() if row.created else None,
        "servers": servers,
    }


def server_type(plan: Plan, settings: ApiSettings) -> Json:
    """Memory in GB as the tools count it: 1024 MiB."""
    return {
        "id": plan.id,
        "name": plan.name,
        "description": plan.description or plan.name,
        "cores": plan.cores,
        "memory": plan.memory_mib / 1024,
        "disk": plan.disk_gib,
        "deprecated": False,
        "deprecation": None,
        "prices": [],
        "storage_type": "network",
        "cpu_type": "shared",
        "category": "Shared vCPU",
        "architecture": "x86",
        "included_traffic": None,
        "locations": [
            {"id": LOCATION_ID, "name": settings.location, "deprecation": None, "recommended": True, "available": True}
        ],
    }


def image(row: Image) -> Json:
    """A system image; snapshots and backups are not there yet."""
    return {
        "id": row.id,
        "type": "system",
        "status": "available",
        "name": row.name,
        "description": row.name,
        "image_size": None,
        "disk_size": row.disk_gib,
        "created": row.created.isoformat(),
        "created_from": None,
        "bound_to": None,
        "os_flavor": row.os_flavor if row.os_flavor in _FLAVORS else "unknown",
        "os_version": row.os_version or None,
        "rapid_deploy": False,
        "protection": {"delete": False},
        "deprecated": None,
        "deleted": None,
        "labels": {},
        "architecture": "x86",
    }


def location(settings: ApiSettings) -> Json:
    """The one location."""
    return {
        "id": LOCATION_ID,
        "name": settings.location,
        "description": settings.location_description,
        "country": settings.country,
        "city": settings.city,
        "latitude": settings.latitude,
        "longitude": settings.longitude,
        "network_zone": settings.network_zone,
    }


def datacenter(settings: ApiSettings, plan_ids: list[int]) -> Json:
    """The one datacenter of the one location, for tools that still ask for it."""
    return {
        "id": LOCATION_ID,
        "name": f"{settings.location}-dc1",
        "description": f"{settings.location_description} DC 1",
        "location": location(settings),
        "server_types": {"supported": plan_ids, "available": plan_ids, "available_for_migration": plan_ids},
    }


def action(row: ApiAction) -> Json:
    """A piece of work and how far it is."""
    error = {"code": row.error_code, "message": row.error_message} if row.error_code else None
    return {
        "id": row.id,
        "command": row.command,
        "status": row.status.value,
        "progress": row.progress,
        "started": row.started.isoformat(),
        "finished": row.finished.isoformat() if row.finished else None,
        "resources": [{"id": row.vm_id, "type": "server"}],
        "error": error,
    }
