"""What can be wrong with this node's disks: too full, or refusing to be written."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

#: a file system with less than this free counts as full: QEMU and MariaDB need room to go on
FREE_MIN_MIB = 64


class DiskCheck:
    """Looks at directories by name (`state`, `pool shared`, ...)."""

    def __init__(self, directories: Mapping[str, Path]) -> None:
        self._directories = dict(directories)

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
        except OSError as error:
            return f"{name}: {error.strerror}"
        finally:
            probe.unlink(missing_ok=True)
        return ""
