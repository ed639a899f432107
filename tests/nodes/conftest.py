"""One rack for the whole run; a table of what each step took at its end.

A test's limit of time is for the test alone (`func_only`): the first that needs the cluster also waits until it is
formed, and each wait in there has its own limit.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.nodes.cluster import Cluster, build_package
from tests.nodes.evidence import evidence
from tests.nodes.guide import GUIDE, guide_addresses
from tests.nodes.guide import steps as guide_steps
from tests.nodes.image import CACHE, OWN_SUITE, NodeImage, node_image
from tests.nodes.rack import Rack
from tests.nodes.reader import Reader
from tests.nodes.repository import Repository
from tests.nodes.shared import SERVER
from tests.nodes.steps import Steps

#: those that run now
_clusters: list[Cluster] = []
_shown: list[BaseException] = []
_BUILD = Path(__file__).resolve().parents[2] / "build"
_steps = Steps(_BUILD / "nodes-steps.json")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The story is told first: in the cluster as the guide leaves it. The others restore that one."""
    items.sort(key=lambda item: item.path.name != "test_story.py")


def pytest_exception_interact(call: pytest.CallInfo[object], report: pytest.CollectReport | pytest.TestReport) -> None:
    """A failure is shown with what the nodes say of it; one of a fixture's only with the first test that needs it.

    Also in a file at once: pytest shows it when the whole run has ended, an hour later.
    """
    assert call.excinfo is not None
    if call.excinfo.value in _shown:
        return
    _shown.append(call.excinfo.value)
    report.sections.extend(("What the nodes say", evidence(cluster.machines)) for cluster in _clusters)
    file = _BUILD / "nodes-failures" / f"{re.sub(r'[^a-z0-9]+', '-', report.nodeid.lower())}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([report.longreprtext, *(text for _, text in report.sections)]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shown also when a test failed: where the time went."""
    if not _steps.done:
        return
    terminalreporter.section(f"steps on the nodes, also in {_steps.file}")
    for line in _steps.table():
        terminalreporter.write_line(line)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The nodes' Debian need not be this machine's."""
    parser.addoption("--suite", default=OWN_SUITE, help=f"the nodes' Debian, by its code name (here: {OWN_SUITE})")


@pytest.fixture(scope="session")
def suite(pytestconfig: pytest.Config) -> str:
    """The nodes' Debian: its code name."""
    return str(pytestconfig.getoption("--suite"))


@pytest.fixture(scope="session")
def image(suite: str, steps: Steps) -> NodeImage:
    """What the nodes boot."""
    with steps.step("the image of a node (from the cache, if it has one)"):
        return node_image(suite)


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
def package(rack: Rack, suite: str, steps: Steps) -> Path:
    """This tree's package."""
    with steps.step("the package is built"):
        return build_package(rack.directory / "packages", suite)


@pytest.fixture(scope="session")
def building(rack: Rack, suite: str) -> Iterator[Future[Path]]:
    """`newer`, which is built beside what comes next."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(build_package, rack.directory / "packages", suite, "99.0.0")


@pytest.fixture(scope="session")
def newer(building: Future[Path], steps: Steps) -> Path:
    """The same tree as a later version."""
    with steps.step("the rest of a newer package is built"):
        return building.result()


@pytest.fixture(scope="session")
def repository(rack: Rack, package: Path) -> Repository:
    """Offers this tree's package."""
    made = Repository(rack)
    made.add(package)
    return made


@pytest.fixture(scope="session")
def cluster(
    rack: Rack,
    image: NodeImage,
    building: Future[Path],
    package: Path,
    newer: Path,
    repository: Repository,
    steps: Steps,
) -> Iterator[Cluster]:
    """Three nodes, installed and set up as docs/install.md says; saved as `formed`, without any VM.

    `newer` is asked for here to be built while no node runs, beside `package`: beside three of them it takes minutes.
    """
    formed = Cluster(rack, image, repository, steps)
    try:
        try:
            _form(formed, package)
        except Exception as error:
            # The nodes are off before the report of a fixture that failed is made.
            error.add_note(evidence(formed.machines))
            raise
        _clusters.append(formed)
        yield formed
    finally:
        _clusters.clear()
        formed.close()


def _form(cluster: Cluster, package: Path) -> None:
    cluster.boot()
    cluster.prepare(package)
    page = GUIDE.read_text(encoding="utf-8")
    Reader(cluster, guide_addresses(page)).follow(guide_steps(page))
    cluster.open()
    cluster.save()
