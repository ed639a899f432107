"""What the API of a node runs when it is told that the agent here is silent."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from app.adapters.system.agent_restart import PAUSE_SECONDS, AgentRestart
from app.config import ApiSection
from app.domain.events import SignalReceived


class Bench:
    """Each kind writes its word into a file; the clock is turned by hand."""

    def __init__(self, directory: Path, **commands: tuple[str, ...]) -> None:
        self.done, self.clock = directory / "done", 0.0
        write = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
        mine = {k: (sys.executable, "-c", write, str(self.done), k[0]) for k in ("silent", "gone")}
        self.restart = AgentRestart("n2", {**mine, **commands}, now=lambda: self.clock)

    def hears(self, kind: str, node: str = "n2") -> None:
        self.restart(SignalReceived("n1", kind, None, 5, node))

    def text(self) -> str:
        return self.done.read_text() if self.done.exists() else ""


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_each_kind_has_its_command_and_only_this_node_is_meant(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for kind, node in (("look", ""), ("look", "n2"), ("silent", "n3"), ("silent", "")):
        bench.hears(kind, node)
    bench.hears("silent")
    _wait(lambda: bench.text() == "s")
    bench.clock += PAUSE_SECONDS
    bench.hears("gone")
    _wait(lambda: bench.text() == "sg")


def test_a_restart_is_given_its_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.hears("silent")
    _wait(lambda: bench.text() == "s")
    bench.clock += PAUSE_SECONDS - 0.1
    bench.hears("silent")
    bench.clock += 0.1
    bench.hears("gone")
    _wait(lambda: "g" in bench.text())
    assert bench.text() == "sg"


def test_a_command_that_does_not_work_or_is_none_harms_nobody(tmp_path: Path) -> None:
    bench = Bench(tmp_path, silent=("/no/such/command",), gone=())
    bench.hears("gone")
    bench.hears("silent")
    bench.clock += PAUSE_SECONDS
    other = Bench(tmp_path)
    other.hears("gone")
    _wait(lambda: other.text() == "g")


def test_what_the_api_runs_by_default_is_what_polkit_allows_it() -> None:
    """The rule names verbs of systemd's and one unit; a command beside it would be refused where nobody looks."""
    rules = (Path(__file__).parents[3] / "packaging/polkit.rules").read_text()
    config = ApiSection()
    for command in (config.end_agent, config.start_agent):
        (verb,) = [word for word in command if word in ("kill", "start", "restart", "stop")]
        assert f'"{verb}"' in rules
        assert command[-1] == "holdfast-agent.service"
        assert f'"{command[-1]}"' in rules
