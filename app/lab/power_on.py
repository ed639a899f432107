"""Start a node: an empty /run, a new boot id, live cables, its init with all its daemons, a fresh watchdog."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from dataclasses import replace
from pathlib import Path

from app.lab import galera, network
from app.lab.errors import LabError
from app.lab.paths import WATCHDOG_IN_NODE, LabPaths, NodePaths
from app.lab.spawn import spawn
from app.lab.state import LabState, NodeState, load_lab, load_power, power_lock, record, save_power
from app.lab.wait import wait_until


def power_on(paths: LabPaths, name: str, by: str) -> None:
    """Returns when the node's init runs; its daemons come up behind it.

    Errors: LabError when it is on already.
    """
    lab = load_lab(paths)
    node = lab.node(name)
    here = paths.node(name)
    with power_lock(here):
        state = load_power(here)
        if state.power == "on":
            raise LabError(f"{name} is on already")
        record(paths, "power-on", name, by)
        _empty_volatile(here)
        links = tuple(link for link in network.LINKS if link not in state.cut)
        network.set_ports(lab.host_processes["switch"], node, links, up=True)
        command = ["unshare", "--mount", "--uts", "--propagation", "private", sys.executable]
        init = spawn(
            ["ip", "netns", "exec", node.namespace, *command, "-m", "app.lab.node_init", str(paths.directory), name],
            paths.directory,
            here.log / "init.log",
        )
        watchdog = spawn(_watchdog_argv(paths, lab, node), paths.directory, paths.host / f"watchdog-{name}.log")
        save_power(here, replace(state, power="on", frozen=False, init=init, watchdog=watchdog))
        wait_until(lambda: (here.directory / "ready").exists() or not init.is_alive(), 20, f"{name} to start", 0.01)
        if not init.is_alive():
            raise LabError(f"{name} did not start: {(here.log / 'init.log').read_text()[-500:]}")


def _watchdog_argv(paths: LabPaths, lab: LabState, node: NodeState) -> list[str]:
    return [
        sys.executable,
        "-m",
        "app.lab.watchdog",
        str(paths.directory),
        node.name,
        str(lab.watchdog_seconds),
    ]


def _empty_volatile(node: NodePaths) -> None:
    run = node.inside("/run")
    shutil.rmtree(run, ignore_errors=True)
    for directory in ("libvirt", "mysqld", "holdfast", "lock"):
        (run / directory).mkdir(parents=True)
    shutil.chown(run / "mysqld", galera.SYSTEM_USER, galera.SYSTEM_USER)
    os.mkfifo(node.inside(WATCHDOG_IN_NODE), 0o600)
    (node.directory / "ready").unlink(missing_ok=True)
    shutil.rmtree(node.unit_states, ignore_errors=True)
    node.unit_states.mkdir()
    node.boot_id.write_text(f"{uuid.uuid4()}\n")


def main() -> None:
    directory, node, by = sys.argv[1:]
    power_on(LabPaths(Path(directory)), node, by)


if __name__ == "__main__":
    main()
