"""`/admin/v1`: for operators, the CLI and the lab."""

from app.api.admin import catalogue, incidents, maintenance, nodes, projects, records, settings, tokens, vms, webhooks

routes = (
    nodes.router,
    maintenance.router,
    incidents.router,
    vms.router,
    tokens.router,
    projects.router,
    catalogue.router,
    webhooks.router,
    records.router,
    settings.router,
)
