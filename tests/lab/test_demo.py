"""`holdfast lab demo` as a newcomer runs it: it ends with six VMs up, or leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.lab import network, processes
from app.lab.cluster import Lab
from app.lab.wait import wait_until
from tests.lab.conftest import lab_name

pytestmark = pytest.mark.lab
HOLDFAST = Path(sys.executable).with_name("holdfast")


@pytest.fixture
def lab() -> Iterator[Lab]:
    """What the demo of this test brings up; taken down whatever happens."""
    lab = Lab(lab_name("x"))
    lab.down()
    yield lab
    lab.down()


def _demo(lab: Lab, *options: str) -> subprocess.Popen[str]:
    command = [str(HOLDFAST), "lab", "demo", "--name", lab.name, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _leftovers(lab: Lab, mounts_before: list[str]) -> list[str]:
    left = [f"namespace {name}" for name in network.existing_namespaces(lab.name)]
    left += [f"process {pid}" for pid in processes.marked(lab.paths.directory)]
    left += [f"mount {line}" for line in _mounts() if line not in mounts_before and lab.name in line]
    left += [str(lab.paths.directory)] if os.path.lexists(lab.paths.directory) else []
    return left


def _mounts() -> list[str]:
    return Path("/proc/mounts").read_text().splitlines()


def test_the_demo_keeps_its_word_and_what_it_prints_works(lab: Lab, tmp_path: Path) -> None:
    """Without a terminal, with --keep: the figures are whole, and each printed command does what it says."""
    file, mounts = tmp_path / "figures.json", _mounts()
    demo = _demo(lab, "--json", str(file), "--keep")
    text, _ = demo.communicate(timeout=240)
    assert demo.returncode == 0, text
    figures = json.loads(file.read_text())
    assert (figures["nodes"], figures["vms"], figures["unplaced"], figures["double_writes"]) == (3, 6, [], 0)
    assert figures["fence_proof"] == "power"
    assert 0 < figures["detected_s"] < figures["fenced_s"] < figures["planned_s"] < figures["all_up_s"]
    assert len(figures["per_vm"]) == 6
    assert all(figures["planned_s"] < vm["started_s"] <= vm["verified_s"] for vm in figures["per_vm"])
    printed = [line.strip() for line in text.partition("Talk to it:")[2].splitlines() if line.strip()]
    assert len(printed) > 8
    done = subprocess.run(
        ["bash", "-e"], input="\n".join(printed), capture_output=True, text=True, cwd=tmp_path, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"VM \d+ web: running", done.stdout), done.stdout
    assert _leftovers(lab, mounts) == [], "the last printed command is `lab down`"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["database", "VMs on"])
def test_an_interrupted_demo_leaves_nothing(lab: Lab, number: signal.Signals, moment: str) -> None:
    mounts = _mounts()
    demo = _demo(lab)
    assert demo.stdout is not None
    wait_until(lambda: moment in demo.stdout.readline(), 90, f"the demo coming to {moment!r}")  # type: ignore[union-attr]
    demo.send_signal(number)
    text, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, text
    assert _leftovers(lab, mounts) == []


def test_figures_that_cannot_be_written_are_refused_before_anything_is_done(lab: Lab) -> None:
    demo = _demo(lab, "--json", "/nowhere/figures.json")
    text, _ = demo.communicate(timeout=30)
    assert demo.returncode == 1
    assert "/nowhere" in text
    assert not lab.paths.directory.exists()


CLEAN = """
for place in /run/netns /var/lib/holdfast-lab /var/cache/holdfast-lab; do
  mkdir -p $place $PRIVATE$place
done
cp -a /var/cache/holdfast-lab/. $PRIVATE/var/cache/holdfast-lab
for place in /run/netns /var/lib/holdfast-lab /var/cache/holdfast-lab; do mount --bind $PRIVATE$place $place; done
$HOLDFAST lab up --name $WHOLE --nodes 1 --services corosync
$HOLDFAST lab up --name $HALF --nodes 1 --services corosync
rm /var/lib/holdfast-lab/$HALF/lab.json
$HOLDFAST lab down --all
ls -A /run/netns /var/lib/holdfast-lab /var/cache/holdfast-lab
"""


def test_clean_ends_every_lab_and_removes_what_labs_cached(tmp_path: Path) -> None:
    """`lab down --all`, which `./dev clean` calls, in a mount namespace where it sees its own two labs only."""
    names = {"WHOLE": lab_name("y"), "HALF": lab_name("z")}
    environment = {**os.environ, **names, "PRIVATE": str(tmp_path), "HOLDFAST": str(HOLDFAST)}
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-e", "-c", CLEAN],
        capture_output=True, text=True, check=False, timeout=120, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    places = ("/run/netns:", "/var/lib/holdfast-lab:", "/var/cache/holdfast-lab:")
    listed = done.stdout[done.stdout.index("/run/netns:") :]
    assert sorted(line for line in listed.splitlines() if line) == sorted(places), "each of them is empty"
    for name in names.values():
        assert processes.marked(Path("/var/lib/holdfast-lab") / name) == []
