"""Keeps a storage address reachable over several links, for example InfiniBand first and Ethernet second.

A bond cannot mix InfiniBand and Ethernet, so the switch is made at layer 3: the storage service has an address of its
own (`target`, a /32), this node has one too (`source`, on its loopback interface), and there is one route to the
target for each path, the preferred path with the lowest metric. TCP connections belong to the two service addresses,
not to a link, so they outlive the switch.

The way back. This plugin rules over the routes of the machine it runs on, and only over those: in a silent loss the
storage server must leave the dead link as well. Three ways, the first that is possible:

* the server answers over the link on which the node spoke last (connection mark and one routing table for each link);
  then the node alone decides;
* the server runs the same watch for each node's `source`: `python -m plugins.network.pickup --target NODE_SOURCE
  --source STORAGE_TARGET --path ...` (see `--help`);
* both ends run a routing protocol with BFD.

A node without control over the server's routes still survives a lost carrier at its own end.
"""

from app.plugin_api import NetworkContext, NetworkDriver, PathWatch, hookimpl
from plugins.network.pickup.options import PathOptions, PickupOptions

__all__ = ["PathOptions", "PickupOptions", "holdfast_network_driver"]


def _open(options: PickupOptions, context: NetworkContext) -> PathWatch:
    # Netlink's library is large, and every process loads all plugins: only a node that has such paths needs it.
    from plugins.network.pickup.watch import PickupWatch

    return PickupWatch(options, context)


@hookimpl
def holdfast_network_driver() -> NetworkDriver:
    """Offer `pickup`."""
    return NetworkDriver("pickup", PickupOptions, _open)
