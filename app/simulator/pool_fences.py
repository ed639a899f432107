"""The fences of a simulated cluster's pools, and what they mean for its disks."""

from collections.abc import Callable

from app.adapters.sim.disks import SimDisks
from app.adapters.sim.storage_fence import SimStorageFence
from app.simulator.layout import Layout


class PoolFences(dict[str, SimStorageFence]):
    """By the pool's name. A node that is cut off writes nothing; one that is let in writes on where it left off."""

    def __init__(self, layout: Layout, disks: SimDisks, tell: Callable[[str, str], None]) -> None:
        super().__init__()
        self._vms, self._disks, self._tell = layout.vms, disks, tell
        for pool in layout.storage_fences:
            self[pool] = SimStorageFence(pool, self._told)
        disks.cut_off = self.cut_off

    def cut_off(self, name: str, vm_id: int) -> bool:
        """True while that node can write nothing to the volumes of that VM."""
        pools = [v.pool for v in self._vms[vm_id - 1 : vm_id]] or ["pool"]  # one that a customer made has no layout
        fence = self.get(pools[0])
        return fence is not None and fence.is_cut(name)

    def _told(self, name: str, what: str) -> None:
        self._tell(name, what)
        self._disks.reached_again()
