"""The port `Pool`, on the simulated one and on the `file` plugin with a real qemu-img and a real QEMU."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from app.adapters.sim.pool import SimPool
from app.plugin_api import Pool, StorageError
from plugins.storage.file import FilePool

GIB = 1 << 30


class PoolBench(Protocol):
    """A pool with the images `debian/disk.raw` (1 GiB) and `big.qcow2` (8 GiB)."""

    pool: Pool

    def volumes(self) -> list[str]: ...
    def hold(self, name: str) -> object:
        """A context in which something has the volume open for writing."""

    def unmount(self) -> None: ...


@dataclass
class SimPoolBench:
    pool: SimPool

    def volumes(self) -> list[str]:
        return sorted(self.pool.volumes)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        self.pool.in_use.add(name)
        yield
        self.pool.in_use.discard(name)

    def unmount(self) -> None:
        self.pool.gone = True


@dataclass
class FilePoolBench:
    root: Path
    pool: FilePool

    def volumes(self) -> list[str]:
        found = (self.root / "volumes").glob("*") if (self.root / "volumes").exists() else []
        return sorted(path.name.removesuffix(".qcow2") for path in found)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with qemu_has_open(self.root / "volumes" / f"{name}.qcow2"):
            yield

    def unmount(self) -> None:
        self.root.rename(self.root.with_name("elsewhere"))
        self.root.mkdir()


@contextmanager
def qemu_has_open(volume: Path) -> Iterator[None]:
    """A QEMU that stands still with the image open, as a running VM has it."""
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-S", "-nodefaults", "-display", "none", "-monitor", "stdio"]
    process = subprocess.Popen(
        [*argv, "-drive", f"file={volume},format=qcow2,if=virtio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline().startswith(b"QEMU")  # its monitor answers: images are open
        try:
            yield
        finally:
            process.kill()


@pytest.fixture(params=["sim", "file"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> SimPoolBench | FilePoolBench:
    if request.param == "sim":
        return SimPoolBench(SimPool({"debian/disk.raw": 1, "big.qcow2": 8}))
    root = tmp_path / "pool"
    (root / "images/debian").mkdir(parents=True)
    with (root / "images/debian/disk.raw").open("wb") as raw:
        raw.truncate(GIB)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", root / "images/big.qcow2", "8G"], check=True)
    return FilePoolBench(root, FilePool(root))


AnyBench = SimPoolBench | FilePoolBench


def test_a_volume_is_made_once_and_kept(bench: AnyBench) -> None:
    first = bench.pool.ensure_volume("vm-17-0", image_path="debian/disk.raw", size_gib=4)
    again = bench.pool.ensure_volume("vm-17-0", image_path="debian/disk.raw", size_gib=2)
    assert first == again
    assert (first.kind, first.format) == ("file", "qcow2")
    assert bench.volumes() == ["vm-17-0"]


def test_a_volume_may_be_removed_twice(bench: AnyBench) -> None:
    bench.pool.ensure_volume("vm-17-0", image_path="big.qcow2", size_gib=8)
    for _ in range(2):
        bench.pool.remove_volume("vm-17-0")
    assert bench.volumes() == []


def test_a_volume_in_use_is_not_removed(bench: AnyBench) -> None:
    bench.pool.ensure_volume("vm-17-0", image_path="debian/disk.raw", size_gib=1)
    with bench.hold("vm-17-0"), pytest.raises(StorageError, match="in use"):
        bench.pool.remove_volume("vm-17-0")
    assert bench.volumes() == ["vm-17-0"]
    bench.pool.remove_volume("vm-17-0")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a..b", "Vm", "-f", "a\nb", "a\0"])
def test_names_that_could_lead_elsewhere_are_refused(bench: AnyBench, name: str) -> None:
    with pytest.raises(StorageError, match="name"):
        bench.pool.ensure_volume(name, image_path="debian/disk.raw", size_gib=1)
    with pytest.raises(StorageError, match="name"):
        bench.pool.remove_volume(name)


@pytest.mark.parametrize("path", ["missing.raw", "", "..", "../volumes", "../../x", "/etc/passwd", "debian", "a\0"])
def test_images_that_are_not_there_or_not_in_the_pool_are_refused(bench: AnyBench, path: str) -> None:
    with pytest.raises(StorageError, match="image"):
        bench.pool.image_path(path)
    with pytest.raises(StorageError, match="image"):
        bench.pool.ensure_volume("vm-17-0", image_path=path, size_gib=1)
    assert bench.volumes() == []


def test_image_files_have_absolute_names(bench: AnyBench) -> None:
    name = bench.pool.image_path("debian/disk.raw")
    assert name.startswith("/")
    assert name.endswith("/images/debian/disk.raw")


def test_a_volume_smaller_than_its_image_is_refused(bench: AnyBench) -> None:
    with pytest.raises(StorageError, match="needs 8 GiB"):
        bench.pool.ensure_volume("vm-17-0", image_path="big.qcow2", size_gib=7)


def test_a_pool_that_is_not_mounted_is_an_error_and_no_empty_pool(bench: AnyBench) -> None:
    bench.pool.ensure_volume("vm-17-0", image_path="debian/disk.raw", size_gib=1)
    bench.unmount()
    with pytest.raises(StorageError, match="mounted"):
        bench.pool.ensure_volume("vm-17-0", image_path="debian/disk.raw", size_gib=1)
    with pytest.raises(StorageError, match="mounted"):
        bench.pool.remove_volume("vm-17-0")
