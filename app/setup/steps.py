"""A set-up is a list of steps. Each looks first whether it is done: the same command resumes what was interrupted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """`work` returns what it found or did, for the operator; empty for nothing worth saying."""

    name: str
    work: Callable[[], str]


class Progress:
    """What is told while steps run. Overridden by what shows it."""

    def begins(self, step: str) -> None:
        """A step begins."""

    def ended(self, step: str, said: str) -> None:
        """It is done."""

    def failed(self, step: str, why: str) -> None:
        """It is not, and nothing after it was begun."""


def run_steps(steps: Iterable[Step], progress: Progress) -> None:
    """One after the other; the first that fails ends it, with its own error."""
    for step in steps:
        progress.begins(step.name)
        try:
            said = step.work()
        except Exception as error:
            progress.failed(step.name, str(error))
            raise
        progress.ended(step.name, said)
