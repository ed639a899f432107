"""Files that are there whole or not at all, with the right owner before anybody can read them."""

import os
import shutil
from pathlib import Path


def write_file(path: Path, text: str | bytes, mode: int, group: str = "") -> bool:
    """Replace the file at once. False when it had this text already; mode and group are set in any case."""
    data = text.encode() if isinstance(text, str) else text
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == data:
        _own(path, mode, group)
        return False
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    _own(new, mode, group)
    new.replace(path)
    return True


def _own(path: Path, mode: int, group: str) -> None:
    if group:
        shutil.chown(path, group=group)
    path.chmod(mode)
