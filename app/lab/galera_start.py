"""Start a Galera member in a node as Debian's mariadb.service does: recover its position after a crash first.

Without a position the member would ask for a full state transfer; with it the others send only what it missed.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_STATE = Path("/var/lib/mysql/grastate.dat")
_STARTED = Path("/var/lib/mysql/lab-started")
_POSITION = re.compile(r"WSREP: Recovered position:?\s*(\S+:-?\d+)")


def recovered_position(server: list[str]) -> str | None:
    """The last committed transaction as "uuid:seqno"; None when the member has none."""
    # --wsrep-recover reads the tablespace and ends; it must not join anything meanwhile
    done = subprocess.run([*server, "--wsrep-recover", "--log-error="], capture_output=True, text=True, check=False)
    found = _POSITION.search(done.stderr + done.stdout)
    return found.group(1) if found else None


def main() -> None:
    options, server = sys.argv[1 : sys.argv.index("--")], sys.argv[sys.argv.index("--") + 1 :]
    extra: list[str] = []
    first_start = not _STARTED.exists()
    if first_start:
        _STARTED.touch()
        if "--bootstrap" in options:
            extra.append("--wsrep-new-cluster")
    elif re.search(r"^seqno:\s*-1\s*$", _STATE.read_text(), re.MULTILINE):
        position = recovered_position(server)
        if position is not None:
            extra.append(f"--wsrep-start-position={position}")
    os.execvp(server[0], [*server, *extra])  # noqa: S606


if __name__ == "__main__":
    main()
