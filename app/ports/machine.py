"""The machine that an agent runs on."""

from typing import Protocol


class RebootRefused(Exception):
    """The machine does not reboot; the text is for an operator."""


class Machine(Protocol):
    """What an agent may do to its own host."""

    def reboot(self) -> None:
        """Begin an orderly reboot and return; RebootRefused when it cannot begin."""
