"""Volumes, as a storage plugin makes them."""

from typing import Protocol

from app.ports.hypervisor import Disk


class StorageError(Exception):
    """The pool could not do it; the text says why and, where known, what to do."""


class Pool(Protocol):
    """One configured place for volumes. Names are the product's own (`vm-17-0`); every call is idempotent."""

    def ensure_volume(self, name: str, *, image_path: str, size_gib: int) -> Disk:
        """Make the volume over that image unless it exists, and say how QEMU opens it. StorageError."""

    def remove_volume(self, name: str) -> None:
        """Remove it; no error if it is gone. StorageError while something uses it."""

    def image_path(self, path: str) -> str:
        """The absolute name of a file (kernel, initrd, image) that lives in this pool."""
