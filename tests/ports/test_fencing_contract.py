"""The port `FenceMethod`, on the simulated one and on FenceAgent with an agent that switches a file."""

import sys
from pathlib import Path
from typing import Protocol

import pytest

from app.adapters.fencing import FenceAgent, FenceDevice
from app.adapters.sim.fencing import SimFence
from app.ports.fencing import FenceFailed, FenceMethod

AGENT = """
import pathlib, sys, time
options = dict(line.rstrip("\\n").split("=", 1) for line in sys.stdin if "=" in line)
power = pathlib.Path(options["power"])
mode = power.with_name("mode").read_text()
if mode == "fails":
    sys.exit("no route to the BMC")
if mode == "hangs":
    time.sleep(60)
if options["action"] == "off":
    if mode != "lies":
        power.write_text("OFF")
else:
    print("Status: " + power.read_text())
    sys.exit(2 if power.read_text() == "OFF" else 0)
"""


class FenceBench(Protocol):
    """n2 has one power supply, on a device at level 1 (`method`) and on another at level 2 (`second`). n4 has two
    supplies, on a device each, both at the level `pair`; `set_mode` with level 2 is that of the second.
    """

    method: FenceMethod
    second: FenceMethod
    pair: FenceMethod

    def set_mode(self, mode: str, level: int = 1) -> None: ...
    def is_off(self) -> bool: ...
    def press_the_button(self) -> None:
        """The node gets power again."""


class AgentBench:
    def __init__(self, directory: Path) -> None:
        (directory / "agent").write_text(AGENT)
        self._power = [directory / str(level) / "power" for level in (1, 2)]
        for power in self._power:
            power.parent.mkdir()
        self.press_the_button()
        self.set_mode("works")
        self.set_mode("works", 2)
        devices = [FenceDevice((sys.executable, str(directory / "agent")), {"power": str(p)}) for p in self._power]
        self.method: FenceMethod = FenceAgent("power", {"n2": devices[:1]})
        self.second: FenceMethod = FenceAgent("power2", {"n2": devices[1:]})
        self.pair: FenceMethod = FenceAgent("power", {"n4": devices})

    def set_mode(self, mode: str, level: int = 1) -> None:
        self._power[level - 1].with_name("mode").write_text(mode)

    def is_off(self) -> bool:
        return any(p.read_text() == "OFF" for p in self._power)

    def press_the_button(self) -> None:
        for power in self._power:
            power.write_text("ON")


class SimBench:
    def __init__(self) -> None:
        self._off: set[str] = set()
        cut = {"n2": lambda: self._off.add("n2")}
        self._sims = [SimFence(cut, self._off.__contains__, name) for name in ("power", "power2")]
        self.method: FenceMethod = self._sims[0]
        self.second: FenceMethod = self._sims[1]
        self._supplies = {1, 2}
        self._pair = SimFence({"n4": self._cut_both}, lambda _: not self._supplies)
        self.pair: FenceMethod = self._pair
        self._stuck = False

    def _cut_both(self) -> None:
        self._supplies -= {1} if self._stuck else {1, 2}

    def set_mode(self, mode: str, level: int = 1) -> None:
        self._sims[level - 1].failures = {"n2": -1} if mode in ("fails", "hangs") else {}
        self._sims[level - 1].lies = {"n2"} if mode == "lies" else set()
        self._stuck = level == 2 and mode == "lies"
        self._pair.failures = {"n4": -1} if mode in ("fails", "hangs") else {}

    def is_off(self) -> bool:
        return bool(self._off)

    def press_the_button(self) -> None:
        self._off.clear()
        self._supplies |= {1, 2}


@pytest.fixture(params=["sim", "agent"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> FenceBench:
    return SimBench() if request.param == "sim" else AgentBench(tmp_path)


def test_a_proof_means_off_and_a_fenced_node_is_fenced_again(bench: FenceBench) -> None:
    for _ in range(2):
        proof = bench.method.fence("n2", 10)
        assert proof.method == bench.method.name == "power"
        assert "off" in proof.saw
        assert bench.is_off()


def test_nodes_without_a_device_are_not_covered(bench: FenceBench) -> None:
    assert bench.method.covers("n2")
    assert not bench.method.covers("n3")
    with pytest.raises(FenceFailed, match="n3"):
        bench.method.fence("n3", 1)


@pytest.mark.parametrize("mode", ["fails", "hangs", "lies"])
def test_no_proof_without_a_state_that_reads_off(bench: FenceBench, mode: str) -> None:
    bench.set_mode(mode)
    with pytest.raises(FenceFailed, match="n2"):
        bench.method.fence("n2", 1)
    assert not bench.is_off()
    bench.set_mode("works")
    bench.method.fence("n2", 10)
    assert bench.is_off()


# -- reading


def test_reading_says_what_is_and_switches_nothing(bench: FenceBench) -> None:
    for _ in range(2):
        seen = bench.method.read("n2", 10)
        assert not seen.off
        assert "on" in seen.said
        assert not bench.is_off()
    bench.method.fence("n2", 10)
    for _ in range(2):
        assert bench.method.read("n2", 10).off
    bench.press_the_button()
    assert not bench.method.read("n2", 10).off, "it is read anew each time"


def test_reading_is_not_fooled_by_a_device_that_only_says_that_it_did(bench: FenceBench) -> None:
    bench.set_mode("lies")
    with pytest.raises(FenceFailed):
        bench.method.fence("n2", 2)
    assert not bench.method.read("n2", 10).off


@pytest.mark.parametrize("mode", ["fails", "hangs"])
def test_what_cannot_be_read_is_neither_on_nor_off(bench: FenceBench, mode: str) -> None:
    bench.set_mode(mode)
    with pytest.raises(FenceFailed, match="n2"):
        bench.method.read("n2", 1)
    with pytest.raises(FenceFailed, match="n3"):
        bench.method.read("n3", 1)
    bench.set_mode("works")
    assert not bench.method.read("n2", 10).off


# -- several levels


def test_the_second_level_works_where_the_first_does_not_and_says_its_own_name(bench: FenceBench) -> None:
    bench.set_mode("fails")
    with pytest.raises(FenceFailed):
        bench.method.fence("n2", 1)
    proof = bench.second.fence("n2", 10)
    assert proof.method == bench.second.name == "power2"
    assert bench.is_off()
    assert bench.second.read("n2", 10).off


def test_a_level_that_is_dead_does_not_hold_up_the_reading_of_another(bench: FenceBench) -> None:
    bench.set_mode("hangs", 2)
    assert not bench.method.read("n2", 10).off
    with pytest.raises(FenceFailed):
        bench.second.read("n2", 1)


# -- several devices at one level


def test_a_node_with_two_supplies_is_off_when_both_are(bench: FenceBench) -> None:
    bench.set_mode("lies", 2)
    with pytest.raises(FenceFailed, match="n4"):
        bench.pair.fence("n4", 2)
    assert not bench.pair.read("n4", 10).off, "one supply is off, and the node runs on with the other"
    bench.set_mode("works", 2)
    assert bench.pair.fence("n4", 10).method == "power"
    assert bench.pair.read("n4", 10).off
    bench.press_the_button()
    assert not bench.pair.read("n4", 10).off


@pytest.mark.parametrize("mode", ["fails", "hangs"])
def test_a_level_is_read_when_all_of_its_devices_are(bench: FenceBench, mode: str) -> None:
    bench.set_mode(mode, 2)
    with pytest.raises(FenceFailed, match="n4"):
        bench.pair.read("n4", 1)
    with pytest.raises(FenceFailed, match="n4"):
        bench.pair.fence("n4", 1)
