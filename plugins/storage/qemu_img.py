"""qemu-img, as the pools use it."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_SECONDS = 60.0
#: Part of what qemu-img says when another process has the image open for writing (block/file-posix.c).
IN_USE = 'Failed to get shared "write" lock'


class QemuImgFailed(Exception):
    """The text is what qemu-img wrote."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """One layer. Sizes in bytes; `backing_file` and `data_file` as they stand in it, empty: none."""

    format: str
    virtual_size: int
    backing_file: str = ""
    data_file: str = ""


def run_qemu_img(arguments: Sequence[str]) -> str:
    """Its standard output. QemuImgFailed also when it does not end in time (dead storage)."""
    try:
        done = subprocess.run(
            ["qemu-img", *arguments], capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise QemuImgFailed(f"qemu-img {arguments[0]} did not end within {_TIMEOUT_SECONDS:g} s") from error
    except OSError as error:
        raise QemuImgFailed(f"qemu-img cannot be run ({error.strerror}): install qemu-utils") from error
    if done.returncode != 0:
        raise QemuImgFailed(" ".join(done.stderr.split())[-500:] or f"qemu-img exit {done.returncode}")
    return done.stdout


def inspect(image: Path, *, ignore_lock: bool = True) -> ImageInfo:
    """Read one layer; its backing file is not opened. Without `ignore_lock` it fails with IN_USE while in use."""
    share = ["-U"] if ignore_lock else []
    found = json.loads(run_qemu_img(["info", "--output=json", *share, str(image)]))
    special = found.get("format-specific", {}).get("data", {})
    return ImageInfo(
        format=str(found["format"]),
        virtual_size=int(found["virtual-size"]),
        backing_file=str(found.get("backing-filename", "")),
        data_file=str(special.get("data-file", "")),
    )
