"""A package whose upgrade is what the test or the simulator says."""

from collections.abc import Callable

from app.ports.package import UpgradeRefused


class SimPackage:
    """`refuses`: why it does not upgrade, asked each time; empty when it does."""

    def __init__(self, installs: Callable[[str], None], refuses: Callable[[], str] = lambda: "") -> None:
        self._installs, self._refuses = installs, refuses

    def upgrade(self, version: str) -> None:
        """See `Package.upgrade`."""
        if why := self._refuses():
            raise UpgradeRefused(why)
        self._installs(version)
