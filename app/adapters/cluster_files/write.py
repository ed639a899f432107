"""Files that are there whole or not at all, with the right owner before anybody can read them."""

import os
import shutil
import tempfile
from pathlib import Path


def write_file(path: Path, text: str | bytes, mode: int, group: str = "") -> bool:
    """Replace the file at once. False when it had this text already; mode and group are set in any case.

    Two processes may write the same file at the same time: each has a new file of its own, and the later one stays.
    """
    data = text.encode() if isinstance(text, str) else text
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == data:
        _own(path, mode, group)
        return False
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    new = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _own(new, mode, group)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    return True


def _own(path: Path, mode: int, group: str) -> None:
    if group:
        shutil.chown(path, group=group)
    path.chmod(mode)
