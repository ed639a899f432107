"""FenceAgent with real agents: small programs that keep a power state in a file, or fail in known ways."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.adapters.fencing import FenceAgent, FenceDevice
from app.adapters.fencing.run_agent import run_agent
from app.domain.cluster import Proof
from app.ports.fencing import FenceFailed

SECRET = "s3cr3t-of-the-bmc"
AGENT = """
import os, pathlib, sys, time
here = pathlib.Path(__file__).parent
options = dict(line.rstrip("\\n").split("=", 1) for line in sys.stdin if "=" in line)
action = options["action"]
with (here / "calls").open("a") as calls:
    calls.write(action + " " + options["plug"] + " " + repr(sys.argv[1:]) + "\\n")
power = here / "power"
def off():
    power.write_text("off")
def status():
    print("Status: " + power.read_text().upper())
    sys.exit(2 if power.read_text() == "off" else 0)
BEHAVIOUR
"""
GOOD = "off() if action == 'off' else status()"
Make = Callable[[str], FenceAgent]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A FenceAgent for n2 whose agent behaves as the given code says."""

    def build(behaviour: str) -> FenceAgent:
        agent = tmp_path / "fence_test"
        agent.write_text(AGENT.replace("BEHAVIOUR", behaviour))
        (tmp_path / "power").write_text("on")
        device = FenceDevice((sys.executable, str(agent)), {"plug": "n2", "password": SECRET, "ip": "192.0.2.1"})
        return FenceAgent("power", {"n2": [device]})

    return build


def _calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_off_is_proven_by_a_status_of_its_own_and_options_go_by_stdin_only(make: Make, tmp_path: Path) -> None:
    proof = make(GOOD).fence("n2", 10)
    assert proof == Proof("power", f"status off by {sys.executable}")
    assert _calls(tmp_path) == ["off n2 []", "status n2 []"]


def test_only_configured_nodes_are_covered(make: Make) -> None:
    agent = make(GOOD)
    assert (agent.covers("n2"), agent.covers("n3")) == (True, False)
    with pytest.raises(FenceFailed, match="n3"):
        agent.fence("n3", 1)


def test_an_agent_that_lies_about_off_proves_nothing(make: Make, tmp_path: Path) -> None:
    with pytest.raises(FenceFailed, match=r"off: accepted; status: on"):
        make("sys.exit(0) if action == 'off' else status()").fence("n2", 4)
    assert _calls(tmp_path).count("status n2 []") > 1


def test_a_status_that_follows_late_is_waited_for(make: Make, tmp_path: Path) -> None:
    third = "(here / 'calls').read_text().count('status') > 2"
    slow = f"sys.exit(0) if action == 'off' else (off() if {third} else 0, status())"
    assert make(slow).fence("n2", 20).method == "power"
    assert _calls(tmp_path).count("off n2 []") == 1


def test_an_off_that_fails_on_a_chassis_already_off_is_proven_by_the_status(make: Make, tmp_path: Path) -> None:
    agent = make("sys.exit('chassis is off already') if action == 'off' else status()")
    (tmp_path / "power").write_text("off")
    assert agent.fence("n2", 10).method == "power"


def test_an_agent_that_fails_says_why_without_secrets_and_may_work_the_next_time(make: Make, tmp_path: Path) -> None:
    flaky = "sys.exit('login with ' + options['password'] + ' refused') if not (here / 'well').exists() else 0\n" + GOOD
    agent = make(flaky)
    with pytest.raises(FenceFailed, match=r"login with \*\*\* refused") as failed:
        agent.fence("n2", 10)
    assert SECRET not in str(failed.value)
    (tmp_path / "well").touch()
    assert agent.fence("n2", 10).method == "power"


def test_a_device_does_not_show_its_secrets(make: Make) -> None:
    assert SECRET not in repr(FenceDevice(("fence_x",), {"password": SECRET}))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_an_agent_that_hangs_is_killed_with_its_children_and_proves_nothing(make: Make, tmp_path: Path) -> None:
    hang = (
        "import subprocess\nchild = subprocess.Popen(['sleep', '600'])\n"
        "(here / 'pids').open('a').write(f'{child.pid} ')\ntime.sleep(600)"
    )
    began = time.monotonic()
    with pytest.raises(FenceFailed, match="no answer in time"):
        make(hang).fence("n2", 2)
    assert time.monotonic() - began < 4
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 5
    while any(_alive(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_off_that_hangs_after_it_worked_is_proven_by_the_status(make: Make) -> None:
    assert make("(off(), time.sleep(600)) if action == 'off' else status()").fence("n2", 6).method == "power"


@pytest.mark.parametrize(
    "broken", [(sys.executable, "/nonexistent/agent"), ("sh", "-c", "if"), ("/nonexistent/agent",)]
)
def test_an_agent_that_cannot_run_proves_nothing_though_interpreters_exit_with_2(broken: tuple[str, ...]) -> None:
    assert run_agent(broken, {"action": "status"}, 5).exit_code in (2, 127)
    with pytest.raises(FenceFailed):
        FenceAgent("power", {"n2": [FenceDevice(broken)]}).fence("n2", 5)


@pytest.mark.parametrize("options", [{"a\nb": "x"}, {"plug": "x\naction=on"}, {"a=b": "x"}, {"action": "on"}])
def test_options_that_would_change_the_request_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="fence_x"):
        FenceDevice(("fence_x",), options)


def test_an_agent_that_never_reads_its_stdin_does_not_block(tmp_path: Path) -> None:
    result = run_agent(("sh", "-c", "exec 0<&-; echo Status: OFF; exit 2"), {"padding": "x" * 30000}, 5)
    assert (result.exit_code, result.said) == (2, "Status: OFF")


def test_a_grandchild_that_left_the_group_does_not_hold_the_call(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    script = (
        f"setsid sh -c 'echo $$ > {pidfile}; exec sleep 30' & while [ ! -s {pidfile} ]; do :; done; echo Status: ON"
    )
    began = time.monotonic()
    assert run_agent(("sh", "-c", script), {}, 5).exit_code == 0
    assert time.monotonic() - began < 5
    os.kill(int(pidfile.read_text()), 9)


@pytest.mark.lab
def test_a_real_agent_of_debian(tmp_path: Path) -> None:
    """fence_dummy of the package fence-agents: its power state is a file."""
    state = tmp_path / "power"
    state.write_text("on")
    device = FenceDevice(("fence_dummy",), {"type": "file", "status_file": str(state)})
    assert FenceAgent("power", {"n2": [device]}).fence("n2", 60) == Proof("power", "status off by fence_dummy")
    assert state.read_text().strip() == "off"
