"""`/admin/v1`: for operators, the CLI and the lab."""

from app.api.admin import (
    capacity,
    catalogue,
    cluster,
    fence_devices,
    incidents,
    maintenance,
    nodes,
    placement,
    projects,
    records,
    rolling,
    settings,
    tokens,
    vm_rules,
    vms,
    webhooks,
)

routes = (
    nodes.router,
    maintenance.router,
    rolling.router,
    incidents.router,
    vms.router,
    vm_rules.router,
    placement.router,
    tokens.router,
    projects.router,
    catalogue.router,
    webhooks.router,
    records.router,
    settings.router,
    capacity.router,
    cluster.router,
    fence_devices.router,
)
