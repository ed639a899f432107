"""`/v1`: compatible with the tools of the Hetzner Cloud API."""

from app.api.customer import actions, catalogue, placement_groups, places, server_actions, servers

#: fixed paths before those with an id in them
routes = (
    actions.router,
    placement_groups.router,
    server_actions.router,
    servers.router,
    catalogue.router,
    places.router,
)
