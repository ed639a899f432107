"""What a run did, and how long each part of it took."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Steps:
    """In the order of their ends. A step that fails is listed, too. `file` has them for programs, always up to date."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.done: list[tuple[str, float]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is inside."""
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self.add(f"{name} (failed)", time.monotonic() - began)
            raise
        self.add(name, time.monotonic() - began)

    def add(self, name: str, seconds: float) -> None:
        """A time that was measured elsewhere, as in an incident."""
        self.done.append((name, round(seconds, 1)))
        self.file.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"step": name, "seconds": seconds} for name, seconds in self.done]
        self.file.write_text(json.dumps(rows, indent=2) + "\n")

    def table(self) -> list[str]:
        """For people: seconds, then what took them."""
        return [f"{seconds:7.1f} s  {name}" for name, seconds in self.done]
