"""This software, as it is installed on a node."""

from typing import Protocol


class UpgradeRefused(Exception):
    """The version cannot be installed; the text is for an operator."""


class Package(Protocol):
    """What an agent may do to its own installation."""

    def upgrade(self, version: str) -> None:
        """See that the installation of that version is under way; it restarts the agent in the end. Never waits for it.

        Asked again and again: UpgradeRefused as soon as it is known to have failed.
        """
