"""python -m tests.adapters.corosync_enter DIRECTORY COMMAND...: run it with a node's own directories.

Started inside a new mount namespace (`unshare -m`). DIRECTORY/run is bound over /run, and so on.
"""

import os
import subprocess
import sys
from pathlib import Path

#: libqb keeps its rings in /dev/shm: client and corosync must see the same one
PRIVATE = {"run": "/run", "lib": "/var/lib/corosync", "etc": "/etc/corosync", "shm": "/dev/shm"}


def main(argv: list[str]) -> None:
    directory, *command = argv
    for name, target in PRIVATE.items():
        subprocess.run(["mount", "--bind", str(Path(directory) / name), target], check=True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
