"""What only the `file` pool can get wrong: what is on the disk, and what images try."""

import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.plugin_api import StorageError
from plugins.storage.file import FilePool

GIB = 1 << 30


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pool/images").mkdir(parents=True)
    with (tmp_path / "pool/images/base.raw").open("wb") as raw:
        raw.write(b"base image")
        raw.truncate(64 << 20)
    return tmp_path / "pool"


def _qemu_img(*arguments: object) -> str:
    return subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def test_the_volume_is_a_layer_over_the_image_with_the_size_asked_for(root: Path) -> None:
    disk = FilePool(root).ensure_volume("vm-1-0", image_path="base.raw", size_gib=3)
    info = json.loads(_qemu_img("info", "--output=json", disk.path))
    assert (info["format"], info["virtual-size"]) == ("qcow2", 3 * GIB)
    assert (info["backing-filename"], info["backing-filename-format"]) == (str(root / "images/base.raw"), "raw")
    assert os.stat(disk.path).st_mode & 0o777 == 0o600
    assert os.listdir(root / "volumes") == ["vm-1-0.qcow2"]


def test_qemus_user_may_enter_the_directory_of_volumes_whatever_our_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        FilePool(root).ensure_volume("vm-1-0", image_path="base.raw", size_gib=1)
    finally:
        os.umask(before)
    assert stat.filemode((root / "volumes").stat().st_mode) == "drwxr-xr-x"


def test_a_volume_that_exists_keeps_its_data(root: Path) -> None:
    disk = FilePool(root).ensure_volume("vm-1-0", image_path="base.raw", size_gib=1)
    subprocess.run(["qemu-io", "-c", "write -P 7 1M 64k", disk.path], check=True, capture_output=True)
    before = Path(disk.path).read_bytes()
    FilePool(root).ensure_volume("vm-1-0", image_path="base.raw", size_gib=2)
    assert Path(disk.path).read_bytes() == before


def test_two_that_make_the_same_volume_get_the_same(root: Path) -> None:
    def make(_: int) -> int:
        return os.stat(FilePool(root).ensure_volume("vm-1-0", image_path="base.raw", size_gib=1).path).st_ino

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(make, range(16)))) == 1
    assert os.listdir(root / "volumes") == ["vm-1-0.qcow2"]


def test_what_a_creation_that_died_left_is_swept_and_never_taken_for_a_volume(root: Path) -> None:
    (root / "volumes").mkdir()
    old, young = (root / f"volumes/.vm-1-0.qcow2.{name}.new" for name in ("old", "young"))
    for left in (old, young):
        left.write_bytes(b"half")
    os.utime(old, (time.time() - 3600, time.time() - 3600))
    disk = FilePool(root).ensure_volume("vm-1-0", image_path="base.raw", size_gib=1)
    assert json.loads(_qemu_img("info", "--output=json", disk.path))["format"] == "qcow2"
    assert sorted(os.listdir(root / "volumes")) == [young.name, "vm-1-0.qcow2"]


def test_layers_inside_the_pool_are_fine(root: Path) -> None:
    _qemu_img("create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", root / "images/snap.qcow2")
    FilePool(root).ensure_volume("vm-1-0", image_path="snap.qcow2", size_gib=1)


@pytest.mark.parametrize("backing", ["/etc/passwd", "../../secret.raw", "json:{}", "nbd:127.0.0.1:1", "self.qcow2"])
def test_an_image_that_points_outside_is_refused(root: Path, backing: str) -> None:
    (root.parent / "secret.raw").write_bytes(b"s" * 4096)
    image = root / "images/self.qcow2"
    _qemu_img("create", "-q", "-f", "qcow2", image, "1M")
    _qemu_img("rebase", "-u", "-b", backing, "-F", "raw", image)
    with pytest.raises(StorageError, match="image"):
        FilePool(root).ensure_volume("vm-1-0", image_path="self.qcow2", size_gib=1)
    assert not list((root / "volumes").iterdir())


def test_an_image_with_its_data_elsewhere_is_refused(root: Path) -> None:
    outside = root.parent / "data.raw"
    _qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={outside}", root / "images/a.qcow2", "1M")
    with pytest.raises(StorageError, match="another file"):
        FilePool(root).ensure_volume("vm-1-0", image_path="a.qcow2", size_gib=1)


def test_a_link_out_of_the_pool_is_refused(root: Path) -> None:
    (root / "images/link").symlink_to("/etc/passwd")
    with pytest.raises(StorageError, match="outside"):
        FilePool(root).image_path("link")


@pytest.mark.lab
def test_an_image_for_root_alone_is_refused(root: Path) -> None:
    """QEMU is another user, and an image is never given to it."""
    (root / "images/base.raw").chmod(0o640)
    os.chown(root / "images/base.raw", 0, 0)
    with pytest.raises(StorageError, match=r"chmod a\+r"):
        FilePool(root).ensure_volume("vm-1-0", image_path="base.raw", size_gib=1)
    assert not list((root / "volumes").iterdir())
    os.chown(root / "images/base.raw", 0, 1000)
    FilePool(root).ensure_volume("vm-1-0", image_path="base.raw", size_gib=1)


def test_other_formats_are_refused(root: Path) -> None:
    _qemu_img("create", "-q", "-f", "vmdk", root / "images/a.vmdk", "1M")
    with pytest.raises(StorageError, match="vmdk"):
        FilePool(root).ensure_volume("vm-1-0", image_path="a.vmdk", size_gib=1)


def test_a_broken_image_is_told(root: Path) -> None:
    (root / "images/bad.qcow2").write_bytes(b"QFI\xfb" + b"\0\0\0\x03" + b"\xff" * 200)
    with pytest.raises(StorageError, match=r"bad\.qcow2"):
        FilePool(root).ensure_volume("vm-1-0", image_path="bad.qcow2", size_gib=1)


def test_what_the_file_system_says_is_told(tmp_path: Path) -> None:
    """A stale NFS handle, an I/O error: pathlib's questions raise them, as they do this one."""
    pool = FilePool(tmp_path / ("x" * 300))
    with pytest.raises(StorageError, match=r"vm-1-0 cannot be made ready.*File name too long"):
        pool.ensure_volume("vm-1-0", image_path="base.raw", size_gib=1)
    with pytest.raises(StorageError, match=r"vm-1-0 cannot be removed.*File name too long"):
        pool.remove_volume("vm-1-0")
    with pytest.raises(StorageError, match=r"base\.raw"):
        pool.image_path("base.raw")


def test_a_relative_pool_is_refused() -> None:
    with pytest.raises(StorageError, match="absolute"):
        FilePool(Path("pool"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the image and for nothing else."""
    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "holdfast-test", root], check=True)
    try:
        (root / "images").mkdir()
        (root / "images/base.raw").write_bytes(b"x" * 4096)
        yield root
    finally:
        subprocess.run(["umount", root], check=True)


@pytest.mark.lab
def test_a_full_pool_says_so_and_keeps_nothing_half(small: Path) -> None:
    with pytest.raises(StorageError, match="pool is full"):
        FilePool(small).ensure_volume("vm-1-0", image_path="base.raw", size_gib=1)
    assert not list((small / "volumes").iterdir())


@pytest.mark.lab
def test_a_pool_that_cannot_be_written_says_so(small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    with pytest.raises(StorageError, match="Read-only"):
        FilePool(small).ensure_volume("vm-1-0", image_path="base.raw", size_gib=1)
