"""The adapter on three real corosyncs. Run with `-s` to see the measured latencies."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.corosync_cluster import CorosyncCluster, Probe, corosync_cluster, group, heard, view

pytestmark = pytest.mark.lab

ALL = {"node1", "node2", "node3"}
FORM_SECONDS = 30
CHANGE_SECONDS = 20
# Healed networks merge in two seconds. Debian 12's knet (1.25) now and then keeps a returned link as "no active links"
# until its MTU discovery has run again (kronosnet issue 434), which is every 30 s.
HEAL_SECONDS = 75


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[CorosyncCluster]:
    with corosync_cluster(tmp_path) as made:
        yield made
    assert not list(Path("/run/netns").glob(f"{made.prefix}*"))


def formed(cluster: CorosyncCluster) -> list[Probe]:
    """An agent on each node, all of them seen by all."""
    probes = [node.probe() for node in cluster.nodes]
    for probe in probes:
        probe.wait(view(ALL, True), FORM_SECONDS)
        probe.wait(group(ALL), FORM_SECONDS)
    return probes


def report(what: str, seconds: float) -> None:
    print(f"\nmeasured: {what}: {seconds:.2f} s")


def test_three_nodes_form_and_signal_each_other(tmp_path: Path) -> None:
    with corosync_cluster(tmp_path, started=False) as cluster:
        one, _, three = cluster.nodes
        began = time.monotonic()
        cluster.start()
        probes = formed(cluster)
        report("formation, from start to quorate with three", probes[0].wait(view(ALL, True), 1)["at"] - began)
        report("formation, to all agents in the group", max(p.wait(group(ALL), 1)["at"] for p in probes) - began)
        for node, probe in zip(cluster.nodes, probes, strict=True):
            first = probe.wait(lambda line: line["event"] == "GroupChanged" and line["members"], 1)
            assert node.name in first["joined"], "an agent sees itself join first"

        sent_at = time.monotonic()
        probes[0].send("look", vm_id=17)
        probes[1].send("lead", epoch=4)
        arrivals = [probe.wait(heard("node1", "look", vm_id=17), CHANGE_SECONDS) for probe in probes]
        report("a signal to all three", max(line["at"] for line in arrivals) - sent_at)
        for probe in probes:
            probe.wait(heard("node2", "lead", epoch=4), CHANGE_SECONDS)

        # an API process hears and sends signals, sees the membership, and is no agent
        marks = [probe.mark() for probe in probes]
        api = three.probe("api")
        api.wait(view(ALL, True), CHANGE_SECONDS)
        api.send("look", vm_id=18)
        for probe, mark in zip(probes, marks, strict=True):
            probe.wait(heard("node3", "look", vm_id=18), CHANGE_SECONDS, since=mark)
            assert not [line for line in probe.lines[mark:] if line["event"] == "GroupChanged"]
        api.wait(heard("node3", "look", vm_id=18), CHANGE_SECONDS)
        assert not [line for line in api.lines if line["event"] == "GroupChanged"]

        # what is no signal, and who is not of the cluster, is passed over; the next good one arrives
        unaware = one.probe("api", {1: "node1", 2: "node2"})
        unaware.wait(view({"node1", "node2", "node-3"}, True), CHANGE_SECONDS)
        mark = unaware.mark()
        raw = three.raw_probe()
        for line in (
            '{"version": 2, "kind": "look"}',
            "\xff not JSON",
            "[]",
            '{"version": 1, "kind": 5}',
            "x" * 5000,
            "",
        ):
            raw.tell(line)
        raw.tell('{"version": 1, "kind": "good", "epoch": 1, "added_later": true}')
        probes[0].wait(heard("node3", "good", epoch=1), CHANGE_SECONDS)
        probes[1].send("after")
        unaware.wait(heard("node2", "after"), CHANGE_SECONDS, since=mark)
        signals = [line for line in unaware.lines[mark:] if line["event"] == "SignalReceived"]
        assert [line["kind"] for line in signals] == ["after"], "node 3 is not in this process's map"
        assert "malformed signal ignored" in one.errors()
        raw.finish()


def test_an_agent_that_is_restarted_left_and_joined(cluster: CorosyncCluster) -> None:
    first, second, _ = formed(cluster)
    others = {"node1", "node3"}
    mark = first.mark()
    killed_at = time.monotonic()
    second.kill()
    left = first.wait(group(others, joined=set(), left={"node2"}), CHANGE_SECONDS, since=mark)
    report("agent killed, seen by another", left["at"] - killed_at)
    cluster.nodes[1].probe()
    first.wait(group(ALL, joined={"node2"}, left=set()), CHANGE_SECONDS, since=mark)

    # a clean stop leaves too, and an agent whose old process still hangs joins anew
    third = cluster.nodes[2].probes[0]
    mark = first.mark()
    again = cluster.nodes[2].probe()
    first.wait(group(ALL, joined={"node3"}, left={"node3"}), CHANGE_SECONDS, since=mark)
    third.finish()
    mark = first.mark()
    again.finish()
    changed = first.wait(lambda line: line["event"] == "GroupChanged", CHANGE_SECONDS, since=mark)
    assert group({"node1", "node2"}, joined=set(), left={"node3"})(changed), "the old process's end says nothing"
    assert third.lines[-1]["event"] == "stopped"


def test_a_dead_node_is_lost_and_comes_back(cluster: CorosyncCluster) -> None:
    probes = formed(cluster)
    victim = cluster.nodes[2]
    survivors = {"node1", "node2"}
    marks = [probe.mark() for probe in probes]
    cut_at = victim.set_cable("down")
    victim.end()
    for probe, mark in zip(probes[:2], marks, strict=False):
        seen = probe.wait(view(survivors, True), CHANGE_SECONDS, since=mark)
        gone = probe.wait(group(survivors, joined=set(), left={"node3"}), CHANGE_SECONDS, since=mark)
        report("power cut, seen by a survivor (membership)", seen["at"] - cut_at)
        report("power cut, seen by a survivor (agents' group)", gone["at"] - cut_at)
        assert not [line for line in probe.lines[mark:] if line["event"] == "MembershipChanged" and not line["quorate"]]
    marks = [probe.mark() for probe in probes]
    victim.set_cable("up")
    victim.start_corosync()
    victim.probe()
    for probe, mark in zip(probes[:2], marks, strict=False):
        probe.wait(view(ALL, True), FORM_SECONDS, since=mark)
        probe.wait(group(ALL, joined={"node3"}, left=set()), FORM_SECONDS, since=mark)


def test_an_isolated_node_is_not_quorate(cluster: CorosyncCluster) -> None:
    probes = formed(cluster)
    isolated = cluster.nodes[0]
    others = {"node2", "node3"}
    marks = [probe.mark() for probe in probes]
    cut_at = isolated.set_cable("down")
    alone = probes[0].wait(view({"node1"}, False), CHANGE_SECONDS, since=marks[0])
    probes[0].wait(group({"node1"}, joined=set(), left=others), CHANGE_SECONDS, since=marks[0])
    report("network cut, the isolated node knows", alone["at"] - cut_at)
    for probe, mark in zip(probes[1:], marks[1:], strict=True):
        seen = probe.wait(view(others, True), CHANGE_SECONDS, since=mark)
        probe.wait(group(others, joined=set(), left={"node1"}), CHANGE_SECONDS, since=mark)
        report("network cut, another node knows", seen["at"] - cut_at)
    # a signal in the minority reaches the minority only
    marks = [probe.mark() for probe in probes]
    probes[0].send("alone")
    probes[0].wait(heard("node1", "alone"), CHANGE_SECONDS, since=marks[0])
    healed_at = isolated.set_cable("up")
    for probe, mark in zip(probes, marks, strict=True):
        seen = probe.wait(view(ALL, True), HEAL_SECONDS, since=mark)
        probe.wait(group(ALL), FORM_SECONDS, since=mark)
        report("network healed, seen", seen["at"] - healed_at)
    probes[1].send("together")
    for probe, mark in zip(probes, marks, strict=True):
        probe.wait(heard("node2", "together"), CHANGE_SECONDS, since=mark)
    assert not [line for line in probes[1].lines if line.get("kind") == "alone"]


def test_a_killed_corosync_means_not_quorate_at_once_and_is_joined_again(cluster: CorosyncCluster) -> None:
    probe, second, _ = formed(cluster)
    node = cluster.nodes[0]
    probe.tell('{"count": 1}')
    before = probe.wait(lambda line: line["event"] == "count", CHANGE_SECONDS)
    for _ in range(2):
        mark, mark_second = probe.mark(), second.mark()
        killed_at = node.kill_corosync()
        lost = probe.wait(view(set(), False), 1, since=mark)
        probe.wait(group(set(), joined=set(), left=ALL), 1, since=mark)
        report("corosync killed, its own agent knows", lost["at"] - killed_at)
        assert lost["at"] - killed_at < 0.5
        second.wait(group({"node2", "node3"}, left={"node1"}), CHANGE_SECONDS, since=mark_second)
        assert len(probe.lines) == mark + 2, "a loss is told once, not with each failed attempt"
        probe.send("while-away")
        restarted_at = time.monotonic()
        node.start_corosync()
        back = probe.wait(view(ALL, True), FORM_SECONDS, since=mark)
        probe.wait(group(ALL), FORM_SECONDS, since=mark)
        report("corosync started again, quorate with three", back["at"] - restarted_at)
    mark = probe.mark()
    probe.tell('{"count": 1}')
    after = probe.wait(lambda line: line["event"] == "count", CHANGE_SECONDS, since=mark)
    assert after["descriptors"] == before["descriptors"], "a lost connection is closed"
    assert after["rings"] == before["rings"] > 0, "the shared memory of a dead corosync is given back"


def test_a_frozen_corosync_holds_up_neither_sending_nor_stopping(tmp_path: Path) -> None:
    with corosync_cluster(tmp_path, size=1) as cluster:
        node = cluster.nodes[0]
        probe, stopped = node.probe(), node.probe()
        for each in (probe, stopped):
            each.wait(view({"node1"}, True), FORM_SECONDS)
        stopped.wait(lambda line: line["event"] == "GroupChanged" and line["members"], FORM_SECONDS)
        node.signal_corosync(signal.SIGSTOP)
        for each in (probe, stopped):
            for number in range(2000):
                each.send("look", vm_id=number)
        mark = probe.mark()
        probe.tell('{"count": 1}')  # answered after the signals were sent
        probe.wait(lambda line: line["event"] == "count", 5, since=mark)
        stopped.finish()
        assert [line for line in probe.lines if line["event"] == "MembershipChanged"][-1]["quorate"]
        # the end of a frozen one is seen too
        killed_at = node.kill_corosync()
        lost = probe.wait(view(set(), False), CHANGE_SECONDS, since=mark)
        report("frozen corosync killed, its own agent knows", lost["at"] - killed_at)


def test_without_corosync_not_quorate_is_the_first_word(tmp_path: Path) -> None:
    with corosync_cluster(tmp_path, size=1, started=False) as cluster:
        node = cluster.nodes[0]
        began = time.monotonic()
        probe = node.probe()
        first = probe.wait(view(set(), False), CHANGE_SECONDS)
        report("no corosync: process start to first word", first["at"] - began)
        probe.send("early")
        node.start_corosync()
        probe.wait(view({"node1"}, True), FORM_SECONDS)
        assert [line["event"] for line in probe.lines[:2]] == ["MembershipChanged", "GroupChanged"]
        probe.finish()


def test_a_corosync_without_a_quorum_provider_is_refused(tmp_path: Path) -> None:
    with corosync_cluster(tmp_path, size=1, started=False) as cluster:
        node = cluster.nodes[0]
        settings = node.directory / "etc" / "corosync.conf"
        text = settings.read_text()
        settings.write_text(text.replace("provider: corosync_votequorum\n", ""))
        node.start_corosync()
        probe = node.probe()
        deadline = time.monotonic() + FORM_SECONDS
        while "no quorum provider" not in node.errors():
            assert time.monotonic() < deadline, node.errors()
            time.sleep(0.05)
        assert not [line for line in probe.lines if line.get("quorate")]


def test_an_error_in_the_sink_is_not_lost_all_is_told_again(tmp_path: Path) -> None:
    with corosync_cluster(tmp_path, size=1) as cluster:
        node = cluster.nodes[0]
        probe = node.probe()
        probe.wait(view({"node1"}, True), FORM_SECONDS)
        probe.wait(group({"node1"}), FORM_SECONDS)
        mark = probe.mark()
        probe.tell('{"fail": 1}')
        probe.send("look")
        probe.wait(view(set(), False), CHANGE_SECONDS, since=mark)
        probe.wait(group(set(), left={"node1"}), CHANGE_SECONDS, since=mark)
        probe.wait(view({"node1"}, True), CHANGE_SECONDS, since=mark)
        probe.wait(group({"node1"}, joined={"node1"}), CHANGE_SECONDS, since=mark)
        assert "the sink was told to fail" in node.errors()
