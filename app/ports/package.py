"""This software, as it is installed on a node."""

from typing import Protocol


class UpgradeRefused(Exception):
    """The version cannot be installed; the text is for an operator."""


class Package(Protocol):
    """What an agent may do to its own installation."""

    def upgrade(self, version: str) -> None:
        """Install that version, which restarts the agent. UpgradeRefused when that fails.

        It returns when it has ended, if this process is still there then. Said again it goes on where it was.
        """
