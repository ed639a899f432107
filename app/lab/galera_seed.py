"""Make a fresh data directory the first state of a Galera cluster: one real start and stop as a cluster of one.

Run in a network namespace of its own (`unshare --net`), so it meets nobody. Afterwards the directory knows its
position in the tablespace and in grastate.dat; any number of copies of it join each other without a state transfer.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

TIMEOUT_SECONDS = 60


def main() -> None:
    data, server = Path(sys.argv[1]), sys.argv[2:]
    socket = data / "seed.sock"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    first = ["--wsrep-new-cluster", "--wsrep-cluster-address=gcomm://", f"--datadir={data}", f"--socket={socket}"]
    process = subprocess.Popen([*server, *first])
    deadline = time.monotonic() + TIMEOUT_SECONDS
    query = ["mariadb", "--no-defaults", f"--socket={socket}", "-NBe", "SHOW STATUS LIKE 'wsrep_ready'"]
    while "ON" not in subprocess.run(query, capture_output=True, text=True, check=False).stdout:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise SystemExit("the first start of the prepared database failed")
        time.sleep(0.1)
    process.terminate()
    process.wait(TIMEOUT_SECONDS)
    for name in ("galera.cache", "gvwstate.dat", "seed.sock"):
        (data / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
