"""A flat package repository that the nodes install from, as an operator's own mirror would be."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.nodes.machine import Machine
from tests.nodes.rack import Rack, run

PORT = 8080
SOURCE = f"deb [trusted=yes] http://10.77.0.1:{PORT} ./\n"


class Repository:
    """Serves `directory` on the nodes' management network."""

    def __init__(self, rack: Rack) -> None:
        self._directory = rack.directory / "repository"
        self._directory.mkdir(parents=True, exist_ok=True)
        self._index()
        where = ["--bind", "10.77.0.1", "--directory", str(self._directory)]
        rack.start([sys.executable, "-m", "http.server", str(PORT), *where], rack.directory / "repository.log")

    def offer(self, file: Path) -> str:
        """Serve any file; its URL."""
        shutil.copy(file, self._directory)
        return f"http://10.77.0.1:{PORT}/{file.name}"

    def add(self, package: Path) -> None:
        """Offer a .deb; `apt-get update` on a node sees it."""
        shutil.copy(package, self._directory)
        self._index()

    def _index(self) -> None:
        listed = subprocess.run(
            ["dpkg-scanpackages", "-m", "."], cwd=self._directory, capture_output=True, text=True, check=True
        )
        (self._directory / "Packages").write_text(listed.stdout, encoding="utf-8")

    def teach(self, machine: Machine) -> None:
        """Make it a source of that node's apt."""
        machine.put("/etc/apt/sources.list.d/holdfast.list", SOURCE.encode())
        machine.ssh("apt-get update -qq")


def package_version(package: Path) -> str:
    """The version of a .deb."""
    return run("dpkg-deb", "-f", str(package), "Version").strip()
