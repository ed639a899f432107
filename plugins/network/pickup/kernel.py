"""The kernel's links and routes, by netlink.

Events only say that something changed; what there is now is always read again. So a lost event costs one sweep.
"""

import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from plugins.network.pickup.options import PENALTY, PathOptions

_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR, _RTMGRP_IPV4_ROUTE = 0x1, 0x10, 0x40
_IFF_UP, _IFF_LOWER_UP = 0x1, 0x10000
_TABLE_MAIN = 254


class LinkEvents:
    """Becomes readable when a link, an address or a route changes."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV4_ROUTE))

    def fileno(self) -> int:
        """To wait with."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Throw away what waits; True if there was anything."""
        seen = False
        while True:
            try:
                seen = bool(self._socket.recv(65536)) or seen
            except BlockingIOError:
                return seen
            except OSError:
                # ENOBUFS: more events than the socket could hold. They only say "look", so looking is enough.
                seen = True

    def close(self) -> None:
        """End."""
        self._socket.close()


class Kernel:
    """Carriers of the paths' interfaces, and the routes to one target. Use as a context manager, in one thread."""

    def __init__(self, target: str, source: str, paths: tuple[PathOptions, ...]) -> None:
        self._target, self._source, self._paths = target, source, paths
        self._netlink = IPRoute()

    def __enter__(self) -> "Kernel":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._netlink.close()

    def carriers(self) -> dict[str, bool]:
        """Path name -> its interface is up and has a carrier. A missing interface has none."""
        return {path.name: self._carrier(path.interface) for path in self._paths}

    def used(self) -> str | None:
        """The path whose route to the target has the lowest metric; None without any route of ours."""
        routes = self._routes()
        metrics = {name: min(found) for name, found in routes.items() if found}
        return min(metrics, key=lambda name: metrics[name]) if metrics else None

    def prefer(self, active: str) -> dict[str, str]:
        """Make the routes such that `active` is used: paths preferred to it get a metric above all others.

        Only what differs is changed, and a route is added before one is removed, so there is always one. Returns
        path name -> why its route could not be made.
        """
        problems: dict[str, str] = {}
        there = self._routes()
        stale: list[tuple[PathOptions, int]] = []
        index = [path.name for path in self._paths].index(active)
        for position, path in enumerate(self._paths):
            metric = path.metric + (PENALTY if position < index else 0)
            try:
                if not there[path.name].get(metric, False):
                    self._route("replace", path, metric)
            except (NetlinkError, OSError) as error:
                problems[path.name] = f"no route over {path.interface}: {_said(error)}"
                continue
            stale += [(path, other) for other in there[path.name] if other != metric]
        for path, metric in stale:
            try:
                self._route("del", path, metric)
            except (NetlinkError, OSError) as error:
                problems[path.name] = f"old route over {path.interface} stays: {_said(error)}"
        return problems

    def _index(self, interface: str) -> int:
        """OSError (no such device) when it is missing."""
        return socket.if_nametoindex(interface)

    def _carrier(self, interface: str) -> bool:
        try:
            links = self._netlink.link("get", index=self._index(interface))
        except (NetlinkError, OSError):
            return False
        return all(link["flags"] & _IFF_UP and link["flags"] & _IFF_LOWER_UP for link in links)

    def _routes(self) -> dict[str, dict[int, bool]]:
        """Path name -> the metrics that are ours of its routes to the target -> whether its source is right."""
        found: dict[str, dict[int, bool]] = {path.name: {} for path in self._paths}
        by_way: dict[tuple[str, int], PathOptions] = {}
        for path in self._paths:
            try:
                by_way[str(path.gateway), self._index(path.interface)] = path
            except OSError:
                continue  # a missing interface has no routes
        for route in self._netlink.get_routes(family=socket.AF_INET, table=_TABLE_MAIN):
            values: Mapping[str, Any] = dict(route["attrs"])
            if route["dst_len"] != 32 or values.get("RTA_DST") != self._target:
                continue
            way = by_way.get((values.get("RTA_GATEWAY", ""), values.get("RTA_OIF", 0)))
            metric = values.get("RTA_PRIORITY", 0)
            if way is not None and metric in (way.metric, way.metric + PENALTY):
                found[way.name][metric] = values.get("RTA_PREFSRC") == self._source
        return found

    def _route(self, verb: str, path: PathOptions, metric: int) -> None:
        self._netlink.route(
            verb,
            dst=f"{self._target}/32",
            gateway=str(path.gateway),
            oif=self._index(path.interface),
            prefsrc=self._source,
            priority=metric,
            table=_TABLE_MAIN,
        )


def _said(error: NetlinkError | OSError) -> str:
    return str(error.args[1] if len(error.args) > 1 else error)
