"""What can be wrong with this node's disks: too full, or refusing to be written."""

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

#: a file system with less than this free counts as full: QEMU and MariaDB need room to go on
FREE_MIN_MIB = 64


#: what a directory of the driver `file` has in it: a mount point where nothing is mounted has not, and looks well
_FILE_POOL_HAS = "images"


def pool_directories(pools: Iterable[tuple[str, str, Mapping[str, Any]]]) -> tuple[dict[str, Path], dict[str, str]]:
    """For `DiskCheck`, from each pool's name, driver and options. Pools that are no directories are left out."""
    those = [(f"pool {name}", driver, options) for name, driver, options in pools if "path" in options]
    return (
        {name: Path(str(options["path"])) for name, _, options in those},
        {name: _FILE_POOL_HAS for name, driver, _ in those if driver == "file"},
    )


class DiskCheck:
    """Looks at directories by name (`state`, `pool shared`, ...). `holding`: what must be in which of them."""

    def __init__(self, directories: Mapping[str, Path], holding: Mapping[str, str] | None = None) -> None:
        self._directories = dict(directories)
        self._holding = dict(holding or {})

    def __call__(self) -> tuple[str, ...]:
        """One phrase for each directory that is full, gone or read-only."""
        return tuple(problem for name, path in self._directories.items() if (problem := self._look(name, path)))

    def _look(self, name: str, path: Path) -> str:
        probe = path / f".holdfast-probe-{os.getpid()}"
        try:
            free_mib = shutil.disk_usage(path).free // (1 << 20)
            if free_mib < FREE_MIN_MIB:
                return f"{name} full ({free_mib} MiB free)"
            probe.write_bytes(b"x")
            if (inside := self._holding.get(name)) and not (path / inside).is_dir():
                return f"{name}: there is no {path / inside}, is it mounted?"
        except OSError as error:
            return f"{name}: {error.strerror}"
        finally:
            with suppress(OSError):  # what cannot even be looked at was told above
                probe.unlink()
        return ""
