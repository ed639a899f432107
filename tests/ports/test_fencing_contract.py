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
    method: FenceMethod

    def set_mode(self, mode: str) -> None: ...
    def is_off(self) -> bool: ...


class AgentBench:
    def __init__(self, directory: Path) -> None:
        self.power = directory / "power"
        (directory / "agent").write_text(AGENT)
        self.power.write_text("ON")
        self.set_mode("works")
        device = FenceDevice((sys.executable, str(directory / "agent")), {"power": str(self.power)})
        self.method: FenceMethod = FenceAgent("power", {"n2": [device]})

    def set_mode(self, mode: str) -> None:
        self.power.with_name("mode").write_text(mode)

    def is_off(self) -> bool:
        return self.power.read_text() == "OFF"


class SimBench:
    def __init__(self) -> None:
        self._off: set[str] = set()
        self._sim = SimFence({"n2": lambda: self._off.add("n2")}, lambda node: node in self._off)
        self.method: FenceMethod = self._sim

    def set_mode(self, mode: str) -> None:
        self._sim.failures = {"n2": -1} if mode in ("fails", "hangs") else {}
        self._sim.lies = {"n2"} if mode == "lies" else set()

    def is_off(self) -> bool:
        return bool(self._off)


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
