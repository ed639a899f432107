"""What `node_agent` rests on: while Corosync hangs it tells of no loss, but our signals come round no more."""

import signal
import time
from pathlib import Path

import pytest

from tests.adapters.corosync_cluster import Line, Probe, corosync_cluster, group, heard, view

pytestmark = pytest.mark.lab

ALL = {"node1", "node2", "node3"}
SECONDS = 30


def _comes_round(probe: Probe, number: int) -> Line:
    probe.send("here", epoch=number)
    return probe.wait(heard("node3", "here", epoch=number), SECONDS)


def test_a_signal_to_itself_comes_round_only_while_the_ring_turns(tmp_path: Path) -> None:
    with corosync_cluster(tmp_path) as cluster:
        probes = [node.probe() for node in cluster.nodes]
        for probe in probes:
            probe.wait(view(ALL, True), SECONDS)
            probe.wait(group(ALL), SECONDS)
        other, mine = probes[0], probes[2]
        _comes_round(mine, 1)

        mark, others_mark = mine.mark(), other.mark()
        cluster.nodes[2].signal_corosync(signal.SIGSTOP)
        mine.send("here", epoch=2)
        lost = other.wait(view({"node1", "node2"}, True), SECONDS, since=others_mark)
        # What the others decide on is known here neither by a fact nor by a signal that comes round.
        time.sleep(max(0.0, lost["at"] + 1.0 - time.monotonic()))  # nothing may come in this second
        assert mine.lines[mark:] == []

        cluster.nodes[2].signal_corosync(signal.SIGCONT)
        late = mine.wait(heard("node3", "here", epoch=2), SECONDS, since=mark)
        assert late["at"] > lost["at"] + 1.0
        mine.wait(view(ALL, True), SECONDS, since=mark)
        _comes_round(mine, 3)

        mark = mine.mark()
        cluster.nodes[2].set_cable("down")
        mine.send("here", epoch=4)
        mine.wait(heard("node3", "here", epoch=4), SECONDS, since=mark)
        events = [line["event"] for line in mine.lines[mark:]]
        assert events.index("MembershipChanged") < events.index("SignalReceived"), "the loss is told first"
