"""The driver `raw-files`: each volume is a raw file, copied from its image. Slow to make, and as plain as can be."""

import os
import re
import shutil
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from app.plugin_api import Disk, Pool, PoolContext, StorageDriver, StorageError, hookimpl

_GIB = 1 << 30
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


class RawOptions(BaseModel):
    """`path`: a directory with images/ in it, mounted at the same place on every node that shares it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: Path


class RawPool:
    """Every call may come twice, and may be cut off anywhere: nothing half done is ever found under a volume's name."""

    def __init__(self, path: Path) -> None:
        self._images, self._volumes = path / "images", path / "volumes"

    def ensure_volume(self, name: str, *, image_path: str, size_gib: int) -> Disk:
        """A copy of the image, made larger; one that is there is kept as it is."""
        volume = self._volume(name)
        if not volume.exists():
            image = Path(self.image_path(image_path))
            if image.stat().st_size > size_gib * _GIB:
                raise StorageError(f"image {image_path} is larger than the {size_gib} GiB of volume {name}")
            try:
                self._copy(image, volume, size_gib * _GIB)
            except OSError as error:
                raise StorageError(f"volume {name} cannot be made: {error}") from error
        return Disk(kind="file", path=str(volume), format="raw")

    def remove_volume(self, name: str) -> None:
        """No error if it is gone."""
        try:
            self._volume(name).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"volume {name} cannot be removed: {error}") from error

    def image_path(self, path: str) -> str:
        """Only what lies in images/: the text comes from an operator, and `..` would lead out of the pool."""
        real = (self._images / path).resolve()
        if not real.is_relative_to(self._images.resolve()) or not real.is_file():
            raise StorageError(f"there is no image file {path!r} in {self._images}: is the pool mounted?")
        return str(real)

    def _volume(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise StorageError(f"{name!r} is no name for a volume")
        return self._volumes / f"{name}.raw"

    def _copy(self, image: Path, volume: Path, size_bytes: int) -> None:
        """Under another name, onto the disk, then renamed: a crash leaves a `.new` and no half volume."""
        self._volumes.mkdir(exist_ok=True)
        self._volumes.chmod(0o755)  # QEMU is another user, whom the agent's umask keeps out
        new = volume.with_suffix(".new")
        with image.open("rb") as source, new.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
            target.truncate(size_bytes)
            target.flush()
            os.fsync(target.fileno())
        os.replace(new, volume)


def _open(options: RawOptions, context: PoolContext) -> Pool:
    """Called at start on each node. Refuse here what would fail at three in the morning."""
    if not options.path.is_absolute():
        raise StorageError(f"pool {context.name}: the path must be absolute, not {options.path}")
    return RawPool(options.path)


@hookimpl
def holdfast_storage_driver() -> StorageDriver:
    """Offer `raw-files`."""
    return StorageDriver("raw-files", RawOptions, _open)
