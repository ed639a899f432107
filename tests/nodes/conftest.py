"""One rack for the whole run; a table of what each step took at its end."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nodes.cluster import Cluster, build_package
from tests.nodes.image import CACHE, node_image
from tests.nodes.rack import Rack
from tests.nodes.repository import Repository
from tests.nodes.shared import SERVER
from tests.nodes.steps import Steps

RESULT = Path(__file__).resolve().parents[2] / "build" / "nodes-steps.json"
_steps = Steps()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shown also when a test failed: where the time went."""
    if not _steps.done:
        return
    terminalreporter.section(f"steps on the nodes, also in {RESULT}")
    for line in _steps.table():
        terminalreporter.write_line(line)
    _steps.write(RESULT)


@pytest.fixture(scope="session")
def steps() -> Steps:
    """What this run did."""
    return _steps


@pytest.fixture(scope="session")
def rack() -> Iterator[Rack]:
    """Empty, with a clock. Whatever is in it at the end is ended."""
    made = Rack(CACHE / f"run-{os.getpid()}", f"hfn{os.getpid()}")
    made.up()
    try:
        made.start([sys.executable, "-m", "tests.nodes.clock", SERVER], made.directory / "clock.log")
        yield made
    finally:
        made.down()
        shutil.rmtree(made.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def package(rack: Rack, steps: Steps) -> Path:
    """This tree's package."""
    with steps.step("the package is built"):
        return build_package(rack.directory / "packages")


@pytest.fixture(scope="session")
def repository(rack: Rack, package: Path) -> Repository:
    """Offers this tree's package."""
    made = Repository(rack)
    made.add(package)
    return made


@pytest.fixture(scope="session")
def cluster(rack: Rack, repository: Repository, steps: Steps) -> Iterator[Cluster]:
    """Three nodes, installed and set up as docs/install.md says; saved as `formed`, without any VM."""
    with steps.step("the image of a node (from the cache, if it has one)"):
        image = node_image()
    formed = Cluster(rack, image, repository, steps)
    try:
        formed.boot()
        formed.install()
        formed.mount()
        formed.init()
        for machine in formed.machines[1:]:
            formed.join(machine)
        formed.open()
        formed.save()
        yield formed
    finally:
        formed.power_off()
