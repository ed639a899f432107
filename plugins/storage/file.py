"""The `file` pool: qcow2 volumes over images, in a directory. All nodes may share it (NFS, a cluster file system).

    <path>/images/...             what VMs start from; put there by the operator, never written by this plugin
    <path>/volumes/vm-17-0.qcow2  volumes, each a copy-on-write layer over an image of the same pool

The directories must exist: a share that is not mounted must be an error, not an empty pool in which every VM
gets a fresh disk. QEMU's image lock (on by default) keeps a second writer off a volume.
"""

import os
import re
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from app.plugin_api import Disk, Pool, PoolContext, StorageDriver, StorageError, hookimpl
from plugins.storage.qemu_img import IN_USE, ImageInfo, QemuImgFailed, inspect, run_qemu_img

_GIB = 1 << 30
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_FORMATS = ("raw", "qcow2")
_LAYERS_MAX = 8
#: A temporary file older than this was left by a creation that died.
_LEFTOVER_SECONDS = 600.0


class FileOptions(BaseModel):
    """`path`: the pool's directory, an absolute path, the same on every node that shares it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="directory with images/ and volumes/ in it")


class FilePool:
    """A pool in a directory. Every call is idempotent; none leaves anything half done when it is interrupted."""

    def __init__(self, path: Path) -> None:
        if not path.is_absolute():
            raise StorageError(f"the path of a file pool must be absolute, not {path}")
        self._root = path
        self._images = path / "images"
        self._volumes = path / "volumes"

    def ensure_volume(self, name: str, *, image_path: str, size_gib: int) -> Disk:
        """A qcow2 layer of `size_gib` over the image. A volume that exists is kept as it is, whatever its size."""
        volume = self._volume(name)
        disk = Disk(kind="file", path=str(volume), format="qcow2")
        with _told(f"volume {name} cannot be made ready"):
            self._must_be_there()
            if volume.exists():
                return disk
            image = Path(self.image_path(image_path))
            info = self._checked(image)
            if info.virtual_size > size_gib * _GIB:
                need = -(-info.virtual_size // _GIB)
                raise StorageError(f"image {image_path} needs {need} GiB, the volume {name} would have {size_gib}")
            self._create(volume, image, info.format, size_gib)
        return disk

    def remove_volume(self, name: str) -> None:
        """Remove it unless a QEMU has it open."""
        volume = self._volume(name)
        with _told(f"volume {name} cannot be removed"):
            self._must_be_there()
            if not volume.exists():
                return
            try:
                inspect(volume, ignore_lock=False)
            except QemuImgFailed as error:
                if IN_USE in str(error):
                    raise StorageError(f"volume {name} is in use: stop the VM that has it open first") from error
                # Unreadable is no reason to keep it.
            volume.unlink(missing_ok=True)
            _sync(self._volumes)

    def image_path(self, path: str) -> str:
        """`path` is relative to `images/`, or absolute and inside the pool. StorageError if it is not there."""
        try:
            real = (self._images / path).resolve(strict=True)
        except (OSError, ValueError) as error:
            raise StorageError(f"image file {path!r} is not in {self._images}{self._mounted()}") from error
        if not path or not real.is_relative_to(self._root.resolve()):
            raise StorageError(f"image file {path!r} is outside of the pool {self._root}")
        with _told(f"image file {path!r} cannot be looked at"):
            if not real.is_file():
                raise StorageError(f"image file {path!r} is not a file")
        return str(real)

    def _volume(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or ".." in name:
            raise StorageError(f"{name!r} is no name for a volume: letters a-z, digits, dot, dash, underscore")
        return self._volumes / f"{name}.qcow2"

    def _must_be_there(self) -> None:
        if not self._images.is_dir():
            raise StorageError(f"{self._images} does not exist{self._mounted()}")
        if not self._volumes.is_dir():
            self._volumes.mkdir(exist_ok=True)
            self._volumes.chmod(0o755)  # whatever our umask: QEMU is another user

    def _mounted(self) -> str:
        with suppress(OSError):
            return "" if self._images.is_dir() else ": is the pool's file system mounted?"
        return ""

    def _checked(self, image: Path) -> ImageInfo:
        """Format and size of an image all of whose data lies in this pool: a customer may have made it."""
        top: ImageInfo | None = None
        layer = image
        for _ in range(_LAYERS_MAX):
            try:
                info = inspect(layer)
            except QemuImgFailed as error:
                raise StorageError(f"image {layer} cannot be read: {error}") from error
            if info.format not in _FORMATS:
                raise StorageError(f"image {layer} is {info.format}: convert it to qcow2 or raw first")
            if info.data_file:
                raise StorageError(f"image {layer} keeps its data in another file, which is not allowed")
            if _for_root_alone(layer):
                raise StorageError(f"image {layer} is for root alone, which QEMU is not: chmod a+r {layer}")
            top = top or info
            if not info.backing_file:
                return top
            layer = Path(self.image_path(str(layer.parent / info.backing_file)))
        raise StorageError(f"image {image} has more than {_LAYERS_MAX} layers")

    def _create(self, volume: Path, image: Path, image_format: str, size_gib: int) -> None:
        """Under another name first, on disk, then linked: a link never replaces a volume that another made."""
        self._sweep(volume)
        temporary = volume.with_name(f".{volume.name}.{uuid.uuid4().hex}.new")
        try:
            options = ["-q", "-f", "qcow2", "-b", str(image), "-F", image_format]
            run_qemu_img(["create", *options, str(temporary), str(size_gib * _GIB)])
            temporary.chmod(0o600)
            _sync(temporary)
            try:
                os.link(temporary, volume)
            except FileExistsError:
                return
            _sync(self._volumes)
        finally:
            temporary.unlink(missing_ok=True)

    def _sweep(self, volume: Path) -> None:
        for left in self._volumes.glob(f".{volume.name}.*.new"):
            try:
                if time.time() - left.stat().st_mtime > _LEFTOVER_SECONDS:
                    left.unlink()
            except FileNotFoundError:
                continue


def _for_root_alone(image: Path) -> bool:
    """Volumes are given to QEMU's user, images are not: others use them, too."""
    seen = image.stat()
    by_group = seen.st_gid != 0 and seen.st_mode & stat.S_IRGRP
    return seen.st_uid == 0 and not (by_group or seen.st_mode & stat.S_IROTH)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What the file system or qemu-img says comes out as the port's error, with what to do about it."""
    try:
        yield
    except (OSError, QemuImgFailed) as error:
        raise StorageError(f"{what}: {error}{_advice(str(error))}") from error


def _advice(error: str) -> str:
    if "No space left" in error or "quota exceeded" in error.lower():
        return ". The pool is full: remove volumes or add space"
    if "Read-only file system" in error or "Permission denied" in error:
        return ". The pool must be writable for this node"
    if "Stale file handle" in error:
        return ". The server has another directory there now: mount the pool's share anew"
    return ""


def open_pool(options: FileOptions, _context: PoolContext) -> Pool:
    """Opens nothing yet: a share that is mounted later is found at the first call."""
    return FilePool(options.path)


@hookimpl
def holdfast_storage_driver() -> StorageDriver:
    """The driver `file`."""
    return StorageDriver("file", FileOptions, open_pool)
