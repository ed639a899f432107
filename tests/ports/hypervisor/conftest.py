"""One bench per implementation; the real libvirtd is started once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports.hypervisor.bench import LibvirtBench, LibvirtPair, SimBench, SimPair, memory_bench, qemu_bench
from tests.ports.hypervisor.daemon import Libvirtd
from tests.ports.hypervisor.guest import Guest, build_guest

QEMU = pytest.param("qemu", marks=pytest.mark.lab)


@pytest.fixture(scope="session")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Guest:
    return build_guest(tmp_path_factory.mktemp("guest"))


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libvirtd]:
    libvirtd = Libvirtd(tmp_path_factory.mktemp("lv"))
    try:
        libvirtd.start()
        yield libvirtd
    finally:
        libvirtd.close()


@pytest.fixture(scope="session")
def second_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Libvirtd]:
    libvirtd = Libvirtd(tmp_path_factory.mktemp("lv2"))
    try:
        libvirtd.start()
        yield libvirtd
    finally:
        libvirtd.close()


@pytest.fixture
def qemu_pair(tmp_path: Path, daemon: Libvirtd, second_daemon: Libvirtd, guest: Guest) -> Iterator[LibvirtPair]:
    pair = LibvirtPair(tmp_path, (daemon, second_daemon), guest)
    yield pair
    pair.close()


@pytest.fixture(params=["sim", QEMU])
def pair(request: pytest.FixtureRequest) -> Iterator[SimPair | LibvirtPair]:
    """Two nodes of every implementation that can migrate."""
    if request.param == "qemu":
        yield request.getfixturevalue("qemu_pair")
        return
    one = SimPair()
    yield one
    one.close()


@pytest.fixture
def qemu(tmp_path: Path, daemon: Libvirtd, guest: Guest) -> Iterator[LibvirtBench]:
    bench = qemu_bench(tmp_path, daemon, guest)
    yield bench
    bench.close()


def _bench(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimBench | LibvirtBench]:
    if name == "qemu":
        yield request.getfixturevalue("qemu")
        return
    bench = SimBench() if name == "sim" else memory_bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture(params=["sim", "test", QEMU])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimBench | LibvirtBench]:
    """Every implementation."""
    yield from _bench(request.param, request, tmp_path)


@pytest.fixture(params=["sim", QEMU])
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimBench | LibvirtBench]:
    """Those with a daemon that can go away (libvirt's test driver lives in our own process)."""
    yield from _bench(request.param, request, tmp_path)
