"""kill -9 at an exact step: a process that dies right before or right after one of its calls to the world.

A call is everything that leaves the core: a transaction, a piece of work handed to a lane, a signal, a feed of the
watchdog, a word to libvirt, to the pool or to a fence device. To die after the call of a transaction is to die between
its COMMIT and its answer.
"""

from dataclasses import replace
from typing import Any

from app.adapters.sim.workers import ProcessKilled
from app.engine.ports import AgentPorts


class Fuse:
    """Burns down with every call, twice: before and after it. `left` None: it does not burn."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        """ProcessKilled when it has burnt down."""
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left = None
            raise ProcessKilled


class _Fused:
    """A port whose calls burn the fuse."""

    def __init__(self, port: Any, fuse: Fuse) -> None:
        self._port, self._fuse = port, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._call(found) if callable(found) else found

    def _call(self, method: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self._fuse.burn()
            result = method(*arguments, **named)
            self._fuse.burn()
            return result

        return call


def fused(ports: AgentPorts, fuse: Fuse) -> AgentPorts:
    """The same ports on that fuse."""
    single: dict[str, Any] = {
        name: _Fused(getattr(ports, name), fuse)
        for name in ("store", "membership", "hypervisor", "watchdog", "workers", "machine")
    }
    pools: dict[str, Any] = {name: _Fused(pool, fuse) for name, pool in ports.pools.items()}
    methods: Any = tuple(_Fused(method, fuse) for method in ports.fence_methods)
    return replace(ports, **single, pools=pools, fence_methods=methods)
