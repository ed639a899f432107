"""TCP connections that wait for a retransmission timer on a path that is gone."""

import logging
import subprocess

log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 5.0


def close_connections(target: str) -> int:
    """Close this machine's TCP connections to `target`; returns how many. 0 where the kernel or `ss` cannot.

    SOCK_DESTROY: CONFIG_INET_DIAG_DESTROY, which Debian's kernels have. The client sees ECONNABORTED and, if it is
    made to, connects again; else TCP itself goes on when its back-off ends.
    """
    argv = ["ss", "--no-header", "--kill", "--tcp", "--ipv4", "--numeric", "dst", target]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("connections to %s were not closed: %s", target, error)
        return 0
    if done.returncode != 0 or "Operation not supported" in done.stderr:
        log.warning("connections to %s were not closed: %s", target, done.stderr.strip())
        return 0
    return len(done.stdout.splitlines())
