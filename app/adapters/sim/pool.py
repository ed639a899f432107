"""The storage port in memory."""

import re
from dataclasses import dataclass, field

from app.ports.hypervisor import Disk
from app.ports.storage import StorageError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass
class SimPool:
    """`images`: path -> size in GiB. `in_use`: volumes that something has open. `full`, `gone`: what goes wrong."""

    images: dict[str, int]
    root: str = "/pool"
    full: bool = False
    gone: bool = False
    in_use: set[str] = field(default_factory=set)
    volumes: dict[str, int] = field(default_factory=dict)

    def ensure_volume(self, name: str, *, image_path: str, size_gib: int) -> Disk:
        disk = Disk("file", f"{self.root}/volumes/{self._checked(name)}.qcow2", "qcow2")
        if name in self.volumes:
            return disk
        self.image_path(image_path)
        need = self.images[image_path]
        if need > size_gib:
            raise StorageError(f"image {image_path} needs {need} GiB, the volume {name} would have {size_gib}")
        if self.full:
            raise StorageError(f"volume {name} cannot be created. The pool is full: remove volumes or add space")
        self.volumes[name] = size_gib
        return disk

    def remove_volume(self, name: str) -> None:
        if self._checked(name) in self.in_use:
            raise StorageError(f"volume {name} is in use: stop the VM that has it open first")
        self.volumes.pop(name, None)

    def image_path(self, path: str) -> str:
        if self.gone:
            raise StorageError(f"{self.root}/images does not exist: is the pool's file system mounted?")
        if path not in self.images:
            raise StorageError(f"image file {path!r} is not in {self.root}/images")
        return f"{self.root}/images/{path}"

    def _checked(self, name: str) -> str:
        if self.gone:
            raise StorageError(f"{self.root}/images does not exist: is the pool's file system mounted?")
        if not _NAME.fullmatch(name) or ".." in name:
            raise StorageError(f"{name!r} is no name for a volume")
        return name
