"""What the nodes themselves say when a test fails: half an hour in, the API's answer alone explains nothing."""

import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.nodes.machine import Machine

_SECONDS = 90
_LOOK = """
uptime
ps -eo pid,stat,cputimes,args --sort=-cputimes | head -n 12 | cut -c -120
corosync-quorumtool -s | grep -E 'Quorate|Nodes'
mariadb -NBe "SHOW STATUS LIKE 'wsrep_local_state_comment'"
virsh list --all
tail -qn 3 /var/log/holdfast/console/*.log
journalctl -u holdfast-agent -u holdfast-api -u libvirtd -u corosync -n 40 --no-pager -o short | cut -c -200
dmesg | tail -n 5
"""


def evidence(machines: Sequence[Machine]) -> str:
    """A look into each of them, all at once; one that does not answer within 90 s says only that."""
    with ThreadPoolExecutor() as pool:
        return "\n".join(pool.map(_look, machines))


def _look(machine: Machine) -> str:
    title = f"--- {machine.name}"
    if not machine.is_on:
        return f"{title}: off"
    try:
        return f"{title}\n{machine.ssh(f'( {_LOOK} ) 2>&1', check=False, timeout_seconds=_SECONDS)}"
    except subprocess.TimeoutExpired:
        return f"{title}: no answer within {_SECONDS} s"
