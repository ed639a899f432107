"""A node's power, one function for all who cut it: the lab's user, the lab watchdog, the fence agent.

Off means: its cables are dead and no process of it is left. Only then is "off" written down, so a fence agent
that answers "off" has proved it.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace

from app.lab import network
from app.lab.errors import LabError
from app.lab.paths import LabPaths
from app.lab.processes import continue_all, in_network_namespace, kill_all, stop_all
from app.lab.state import LabState, NodeState, load_lab, load_power, power_lock, record, save_power


def _finder(node: NodeState) -> Callable[[], list[int]]:
    return lambda: in_network_namespace(node.namespace_inode)


def power_off(paths: LabPaths, name: str, by: str, cause: str = "") -> int:
    """Cut the power. Returns the number of processes that died; 0 when the node was off already.

    Errors: LabError when something of the node survives.
    """
    lab = load_lab(paths)
    node = lab.node(name)
    with power_lock(paths.node(name)):
        state = load_power(paths.node(name))
        record(paths, "power-off", name, by, cause=cause)
        network.set_ports(lab.host_processes["switch"], node, network.LINKS, up=False)
        killed = kill_all(_finder(node))
        # hardware: without power the watchdog stops counting, too; it records its own cut and ends by itself
        if state.watchdog is not None and by != "watchdog":
            state.watchdog.send(signal.SIGKILL)
        save_power(paths.node(name), replace(state, power="off", frozen=False, init=None, watchdog=None))
        record(paths, "power-is-off", name, by, processes=killed)
    return killed


def is_off(paths: LabPaths, name: str) -> bool:
    """True only when it is written down as off and no process of it exists."""
    node = load_lab(paths).node(name)
    return load_power(paths.node(name)).power == "off" and not _finder(node)()


def processes_of(lab: LabState, name: str) -> list[int]:
    return _finder(lab.node(name))()


def freeze(paths: LabPaths, name: str, by: str, with_watchdog: bool) -> int:
    """SIGSTOP everything of the node. `with_watchdog`: its watchdog too, a zombie that nobody resets."""
    lab = load_lab(paths)
    with power_lock(paths.node(name)):
        state = load_power(paths.node(name))
        if state.power == "off":
            raise LabError(f"{name} is off; there is nothing to freeze")
        record(paths, "freeze", name, by, watchdog=with_watchdog)
        stopped = stop_all(_finder(lab.node(name)))
        if with_watchdog and state.watchdog is not None:
            state.watchdog.send(signal.SIGSTOP)
        save_power(paths.node(name), replace(state, frozen=True))
    return stopped


def thaw(paths: LabPaths, name: str, by: str, with_watchdog: bool = True) -> None:
    """A watchdog that goes on, too, finds at once that it was not fed; `with_watchdog` False leaves it frozen."""
    lab = load_lab(paths)
    with power_lock(paths.node(name)):
        state = load_power(paths.node(name))
        if state.power == "off":
            raise LabError(f"{name} is off (its watchdog or a fence cut it); power it on instead")
        record(paths, "thaw", name, by)
        save_power(paths.node(name), replace(state, frozen=False))
        if state.watchdog is not None and with_watchdog:
            state.watchdog.send(signal.SIGCONT)
        continue_all(processes_of(lab, name))


def cut(paths: LabPaths, name: str, links: tuple[str, ...], silent: bool, by: str) -> None:
    """Pull cables (carrier goes) or, with `silent`, let the switch drop all their packets."""
    lab = load_lab(paths)
    _known(links)
    with power_lock(paths.node(name)):
        state = load_power(paths.node(name))
        record(paths, "cut", name, by, links=links, silent=silent)
        switch = lab.host_processes["switch"]
        if silent:
            new = tuple(link for link in links if link not in state.silent)
            network.set_silent(switch, lab.node(name), new, silent=True)
            save_power(paths.node(name), replace(state, silent=state.silent + new))
        else:
            network.set_ports(switch, lab.node(name), links, up=False)
            merged = tuple(link for link in network.LINKS if link in state.cut or link in links)
            save_power(paths.node(name), replace(state, cut=merged))


def heal(paths: LabPaths, name: str, links: tuple[str, ...], by: str) -> None:
    """Undo `cut` for these links. A node that is off keeps dead cables until it is powered on."""
    lab = load_lab(paths)
    _known(links)
    with power_lock(paths.node(name)):
        state = load_power(paths.node(name))
        record(paths, "heal", name, by, links=links)
        switch = lab.host_processes["switch"]
        if state.power == "on":
            network.set_ports(switch, lab.node(name), tuple(i for i in state.cut if i in links), up=True)
        network.set_silent(switch, lab.node(name), tuple(i for i in state.silent if i in links), silent=False)
        left = replace(
            state,
            cut=tuple(i for i in state.cut if i not in links),
            silent=tuple(i for i in state.silent if i not in links),
        )
        save_power(paths.node(name), left)


def _known(links: tuple[str, ...]) -> None:
    unknown = set(links) - set(network.LINKS)
    if unknown:
        raise LabError(f"no link {', '.join(sorted(unknown))}; a node has {', '.join(network.LINKS)}")
