"""Take a lab away completely, whole or half built, recorded or not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from app.lab import network
from app.lab.errors import LabError
from app.lab.paths import LabPaths
from app.lab.processes import Process, in_network_namespace, kill_all, marked
from app.lab.spawn import reap
from app.lab.state import LabState, load_lab, load_power


def tear_down(name: str, paths: LabPaths) -> None:
    """Errors: LabError when a process survives SIGKILL."""
    lab = _load(paths)
    children = [] if lab is None else _processes(paths, lab)
    # the lab's processes outside the nodes first: a watchdog must not see its node's end as a missed feed
    kill_all(lambda: marked(paths.directory))
    for namespace in network.existing_namespaces(name):
        inode = network.namespace_inode(namespace)
        kill_all(lambda inode=inode: in_network_namespace(inode))  # type: ignore[misc]
        network.delete_namespace(namespace)
    for process in children:
        reap(process)
    shutil.rmtree(paths.directory, ignore_errors=False) if paths.directory.exists() else None
    if lab is not None:
        _remove_mount_points(lab.made_directories, paths.directory.parent)


def _load(paths: LabPaths) -> LabState | None:
    try:
        return load_lab(paths)
    except LabError:
        return None


def _processes(paths: LabPaths, lab: LabState) -> list[Process]:
    powers = [load_power(paths.node(node.name)) for node in lab.nodes]
    maybe = [*lab.host_processes.values(), *(p.init for p in powers), *(p.watchdog for p in powers)]
    return [process for process in maybe if process is not None]


def _remove_mount_points(made: tuple[str, ...], root: Path) -> None:
    """Empty ones only, and only with no other lab there: removing one would unmount it in their nodes."""
    if any((other / "lab.json").exists() for other in root.iterdir()):
        return
    for directory in sorted(made, key=len, reverse=True):
        try:
            os.rmdir(directory)
        except OSError:
            continue
