"""The agent's metrics file: written whole, read whole, in Prometheus' text format.

The API's user reads it, and node_exporter's textfile collector may. Nothing in it is secret.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

FILE = "agent.prom"
_BYTES_MAX = 16 * 2**20


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


class AgentFile:
    """`sources` are asked at each writing; one that fails fails the writing, and the file then gets old."""

    def __init__(self, path: Path, sources: Sequence[Callable[[], Iterable[Metric]]]) -> None:
        self._path = path
        self._sources = sources

    def __call__(self) -> None:
        """Write it once. A reader sees the old text or the new one."""
        registry = CollectorRegistry()
        registry.register(_Collected([family for source in self._sources for family in source()]))
        new = self._path.with_name(f".{self._path.name}.new")
        new.write_bytes(generate_latest(registry))
        new.chmod(0o644)
        os.replace(new, self._path)


def read_agent_file(path: Path) -> tuple[bytes, float] | None:
    """The text and its age in seconds; None when there is no such file, or it cannot be read."""
    try:
        with path.open("rb") as file:
            age_seconds = time.time() - os.fstat(file.fileno()).st_mtime
            return file.read(_BYTES_MAX), max(0.0, age_seconds)
    except OSError:
        return None
