"""The pickup plugin on real links, routes and packets, in network namespaces."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.plugins.network.pickup_net import SOURCE, TARGET, PickupNet, run, wait_for

pytestmark = pytest.mark.lab
_FAILBACK_SECONDS = 1.5
_QUICK = f"--failback-seconds={_FAILBACK_SECONDS}"


@pytest.fixture
def net() -> Iterator[PickupNet]:
    built = PickupNet()
    try:
        built.up()
        yield built
    finally:
        built.down()


def test_a_lost_carrier_moves_the_route_at_once_and_back_after_the_delay(net: PickupNet) -> None:
    watch = net.watch(_QUICK)
    assert net.metrics() == {"ib0": 10, "eth1": 20}
    net.pull("ib0")
    moved = wait_for(lambda: net.metrics() == {"eth1": 20, "ib0": 100_010}, "the route is moved")
    assert net.route() == "eth1"
    wait_for(lambda: watch.paths()["eth1"]["active"], "the report")
    assert (watch.paths()["ib0"]["up"], watch.paths()["ib0"]["reason"]) == (False, "no carrier")
    net.plug("ib0")
    wait_for(lambda: watch.paths()["ib0"]["up"], "ib0 works again")
    assert net.route() == "eth1", "it must not go back before its time"
    wait_for(lambda: net.metrics() == {"ib0": 10, "eth1": 20}, "the route is back")
    wait_for(lambda: len(watch.texts("path.switched")) == 2, "both switches are told")
    came_back, _, went_back = watch.times("path.state")[-1], *watch.times("path.switched")
    assert (went_back - came_back).total_seconds() >= _FAILBACK_SECONDS - 0.05
    assert moved < 1.0
    print(f"FIGURE carrier loss: route moved in {moved:.3f} s")


def test_a_silent_path_is_left_by_its_probes_and_taken_again_after_the_delay(net: PickupNet) -> None:
    watch = net.watch(_QUICK)
    net.silence("ib0")
    moved = wait_for(lambda: net.route() == "eth1", "the route is moved")
    wait_for(lambda: watch.paths()["eth1"]["active"], "the report")
    assert (watch.paths()["ib0"]["up"], watch.paths()["ib0"]["reason"]) == (False, "no answer to probes")
    net.silence("ib0", end=True)
    back = wait_for(lambda: net.route() == "ib0", "the route is back")
    assert moved < 2.0
    assert back >= _FAILBACK_SECONDS - 0.05
    assert watch.stop() == 0
    assert net.metrics() == {"ib0": 10, "eth1": 20}
    print(f"FIGURE silent loss: route moved in {moved:.3f} s, back in {back:.3f} s")


def test_the_loss_of_a_path_that_is_not_used_moves_nothing(net: PickupNet) -> None:
    watch = net.watch(_QUICK)
    net.silence("eth1")
    wait_for(lambda: not watch.paths()["eth1"]["up"], "eth1 is seen as down")
    assert net.metrics() == {"ib0": 10, "eth1": 20}
    assert watch.texts("path.switched") == []


def test_all_paths_lost_is_its_own_fact_and_the_first_that_returns_is_used_at_once(net: PickupNet) -> None:
    watch = net.watch("--failback-seconds=60")
    net.silence("ib0")
    net.pull("eth1")
    wait_for(lambda: watch.texts("path.all_lost") != [], "all lost is told")
    wait_for(lambda: not any(p["up"] or p["active"] for p in watch.paths().values()), "no path is active")
    assert watch.texts("path.all_lost") == [f"{TARGET}: all paths lost: ib0: no answer to probes, eth1: no carrier"]
    net.plug("eth1")
    back = wait_for(lambda: watch.paths()["eth1"]["active"], "eth1 is used")
    assert net.route() == "eth1"
    assert back < 5.0
    assert "eth1 works again after all paths were lost" in watch.texts("path.switched")[-1]


def _stream(net: PickupNet) -> "tuple[subprocess.Popen[str], subprocess.Popen[str]]":
    def start(space: str, *arguments: str) -> "subprocess.Popen[str]":
        argv = ["ip", "netns", "exec", space, sys.executable, "-m", "tests.plugins.network.tcp_stream", *arguments]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().strip() in ("listening", "streaming")
        return process

    server = start(net.storage, "serve", TARGET)
    return server, start(net.node, "client", TARGET, SOURCE)


def _end(server: "subprocess.Popen[str]", client: "subprocess.Popen[str]") -> dict[str, Any]:
    try:
        said, _ = client.communicate("end\n", timeout=20)
        result: dict[str, Any] = json.loads(said.splitlines()[-1])
        return result
    finally:
        for process in (client, server):
            process.kill()
            process.communicate()


@pytest.mark.parametrize("loss", ["carrier", "silent"])
def test_a_tcp_stream_between_the_service_addresses_outlives_the_switch_and_the_return(
    net: PickupNet, loss: str
) -> None:
    watch = net.watch(_QUICK)
    server, client = _stream(net)
    try:
        (net.pull if loss == "carrier" else net.silence)("ib0")
        wait_for(lambda: watch.paths()["eth1"]["active"], "eth1 is used")
        if loss == "carrier":
            net.plug("ib0")
        else:
            net.silence("ib0", end=True)
        wait_for(lambda: watch.paths()["ib0"]["active"], "ib0 is used again")
    finally:
        result = _end(server, client)
    assert result["in_order"]
    assert (result["connections"], result["errors"]) == (1, [])
    assert result["echoed"] > 50
    assert result["gap_max_s"] < (1.5 if loss == "carrier" else 5.0)
    print(f"FIGURE {loss} loss: a TCP stream stalled for {result['gap_max_s']:.3f} s, without closing it")


def test_closed_connections_are_made_again_over_the_other_path_without_waiting_for_the_back_off(
    net: PickupNet,
) -> None:
    watch = net.watch("--failback-seconds=60", "--close-connections")
    server, client = _stream(net)
    try:
        net.silence("ib0")
        wait_for(lambda: watch.paths()["eth1"]["active"], "eth1 is used")
        wait_for(lambda: "established" in _established(net), "it is connected again")
    finally:
        result = _end(server, client)
    assert result["connections"] == 2
    assert result["errors"] == ["ConnectionAbortedError"]
    assert result["gap_max_s"] < 3.0
    print(f"FIGURE silent loss, connections closed: the client stalled for {result['gap_max_s']:.3f} s")


def _established(net: PickupNet) -> str:
    said = run("ip", "netns", "exec", net.node, "ss", "-tnH", "state", "established", "dst", TARGET)
    return "established" if said.strip() else ""


def test_a_killed_watch_leaves_the_routes_and_the_next_one_goes_on_from_them(net: PickupNet) -> None:
    first = net.watch("--failback-seconds=60")
    net.silence("ib0")
    wait_for(lambda: net.route() == "eth1", "the route is moved")
    first.kill()
    net.silence("ib0", end=True)
    assert net.route() == "eth1"
    second = net.watch(_QUICK)
    assert {n: p["active"] for n, p in second.paths().items()} == {"ib0": False, "eth1": True}
    back = wait_for(lambda: net.metrics() == {"ib0": 10, "eth1": 20}, "the preferred path is used again")
    assert back >= _FAILBACK_SECONDS - 0.3, "the next one makes the preferred path settle first"


def test_an_interface_that_vanishes_and_is_made_again_is_used_again(net: PickupNet) -> None:
    watch = net.watch(_QUICK)
    run("ip", "-n", net.node, "link", "del", "ib0")
    wait_for(lambda: watch.paths()["eth1"]["active"], "eth1 is used")
    wait_for(lambda: "no route over ib0" in watch.paths()["ib0"]["reason"], "the missing interface is named")
    net.cable(net.node, "n", "ib0", 11)
    wait_for(lambda: net.metrics() == {"ib0": 10, "eth1": 20}, "its route is made again and preferred")
    wait_for(lambda: watch.paths()["ib0"]["active"] and not watch.paths()["ib0"]["reason"], "it is used again")


def test_a_route_that_somebody_deletes_is_made_again(net: PickupNet) -> None:
    net.watch(_QUICK)
    run("ip", "-n", net.node, "route", "del", f"{TARGET}/32", "metric", "10")
    wait_for(lambda: net.metrics() == {"ib0": 10, "eth1": 20}, "the route is there again", 5.0)


def test_a_path_that_keeps_failing_is_held_down(net: PickupNet) -> None:
    watch = net.watch("--failback-seconds=0.3", "--flap-max=2", "--flap-window-seconds=600")
    for _ in range(2):
        net.pull("ib0")
        wait_for(lambda: watch.paths()["eth1"]["active"], "eth1 is used")
        net.plug("ib0")
        wait_for(lambda: watch.paths()["ib0"]["up"], "ib0 works again")
        if len(watch.texts("path.switched")) == 1:
            wait_for(lambda: watch.paths()["ib0"]["active"], "ib0 is used again after its first failure")
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert net.route() == "eth1", "a path that failed twice must be held down"
        time.sleep(0.05)
    net.pull("eth1")
    wait_for(lambda: watch.paths()["ib0"]["active"], "but it is better than none")


def test_a_watch_that_was_frozen_sees_no_loss_that_was_not_there(net: PickupNet) -> None:
    watch = net.watch(_QUICK)
    pid = int(run("ip", "netns", "pids", net.node).split()[0])
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.0)  # the freeze itself, not a wait for something
    os.kill(pid, signal.SIGCONT)
    net.pull("eth1")  # a fact after the thaw, to know that it looked again
    wait_for(lambda: not watch.paths()["eth1"]["up"], "it looks again")
    assert watch.texts("path.switched") == []
    assert [t for t in watch.texts("path.state") if "ib0" in t] == []


def test_where_the_storage_server_does_not_follow_the_node_the_same_watch_there_turns_its_answers() -> None:
    net = PickupNet()
    try:
        net.up(storage_follows=False)
        net.watch(_QUICK)
        net.watch(_QUICK, at_storage=True)
        net.silence("ib0")
        wait_for(lambda: net.route() == "eth1", "the node's route is moved")
        both = wait_for(lambda: net.route(net.storage, SOURCE) == "eth1", "the server's route is moved")
        ping = ["ip", "netns", "exec", net.node, sys.executable, "-c", _REACH, TARGET, SOURCE]
        server = ["ip", "netns", "exec", net.storage, sys.executable, "-m", "tests.plugins.network.tcp_stream"]
        with subprocess.Popen([*server, "serve", TARGET], stdout=subprocess.PIPE, text=True) as listening:
            assert listening.stdout is not None
            listening.stdout.readline()
            assert run(*ping).strip() == "reached"
            listening.kill()
        assert both < 2.0
    finally:
        net.down()


_REACH = """
import socket, sys
with socket.create_connection((sys.argv[1], 3260), timeout=5, source_address=(sys.argv[2], 0)):
    print("reached")
"""
