"""The lab's fence agent, by the contract of fence-agents (ClusterLabs, FenceAgentAPI.md): key=value lines on stdin.

Actions: on, off, reboot, status, monitor, list, metadata. `port` (or `plug`) names the node, `labdir` the lab.
Exit 0: done; `status` exits 2 when the node is off; 1: failed. `off` ends with 0 only after no process of the node
is left. It runs inside any node and does not use the nodes' network, as a BMC on its own network would.
"""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from app.lab.errors import LabError
from app.lab.paths import LabPaths
from app.lab.power import is_off, power_off
from app.lab.state import load_lab, load_power, record, write_json

METADATA = """<?xml version="1.0" ?>
<resource-agent name="fence_holdfast_lab" shortdesc="Power of a node of a Holdfast lab">
  <parameters>
    <parameter name="action" required="1"><content type="string" default="reboot"/></parameter>
    <parameter name="port" required="0"><content type="string"/></parameter>
    <parameter name="labdir" required="1"><content type="string"/></parameter>
  </parameters>
  <actions>
    <action name="on"/><action name="off"/><action name="reboot"/><action name="status"/>
    <action name="monitor"/><action name="list"/><action name="metadata"/>
  </actions>
</resource-agent>"""
OK, FAILED, IS_OFF = 0, 1, 2
FOREVER = -1


def parse(lines: Iterable[str]) -> dict[str, str]:
    """Later lines win; blank lines and comments are skipped, as fence-agents do."""
    pairs = (line.strip().partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def set_failing(paths: LabPaths, node: str, failures: int, delay_seconds: float) -> None:
    """The next `failures` calls for this node fail (FOREVER: all), each after `delay_seconds`."""
    write_json(paths.fence / f"{node}.json", {"failures": failures, "delay_seconds": delay_seconds})


def _must_fail(paths: LabPaths, node: str) -> bool:
    """Take one failure off the node's account, after its delay."""
    account = paths.fence / f"{node}.json"
    if not account.exists():
        return False
    with (paths.fence / f"{node}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        data = json.loads(account.read_text())
        failures = int(data["failures"])
        if failures > 0:
            write_json(account, {**data, "failures": failures - 1})
    time.sleep(float(data["delay_seconds"]))
    return failures != 0


def _power_on(paths: LabPaths, node: str) -> None:
    """On the host, whatever node this runs in: starting a node needs the host's view of the disk."""
    gateway = load_lab(paths).host_processes["gateway"]
    command = [sys.executable, "-m", "app.lab.power_on", str(paths.directory), node, "fence-agent"]
    subprocess.run(["nsenter", f"--target={gateway.pid}", "--mount", "--net", "--uts", *command], check=True)


def act(options: dict[str, str]) -> int:
    """Do one action. Returns the exit code."""
    action = options.get("action", "reboot")
    if action == "metadata":
        print(METADATA)
        return OK
    if "labdir" not in options:
        raise LabError("labdir= is missing: the lab's directory")
    paths = LabPaths(Path(options["labdir"]))
    lab = load_lab(paths)
    if action in ("list", "monitor"):
        if action == "list":
            print("\n".join(f"{node.name},{node.address}" for node in lab.nodes))
        return OK
    node = options.get("port") or options.get("plug") or ""
    lab.node(node)
    if _must_fail(paths, node):
        record(paths, "fence-failed-as-told", node, "fence-agent", action=action)
        raise LabError(f"unable to connect to the power switch of {node} (told to fail)")
    match action:
        case "status":
            off = is_off(paths, node)
            print(f"Status: {'OFF' if off else 'ON'}")
            return IS_OFF if off else OK
        case "off" | "reboot":
            power_off(paths, node, "fence-agent")
            if not is_off(paths, node):
                raise LabError(f"{node} still has processes after its power was cut")
            if action == "reboot":
                _power_on(paths, node)
        case "on":
            if load_power(paths.node(node)).power == "off":
                _power_on(paths, node)
        case _:
            raise LabError(f"action={action} is unknown; see action=metadata")
    return OK


def main() -> int:
    try:
        return act(parse(sys.stdin))
    except (LabError, OSError, subprocess.CalledProcessError) as error:
        print(f"fence_holdfast_lab: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
