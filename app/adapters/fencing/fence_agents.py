"""Power fencing by the agents of the fence-agents project (Debian: `fence-agents`), or any that keeps their contract.

The proof is never that `off` said "done": it is a separate `status` that reads off afterwards. So a device that
lies is found out, and a chassis that refuses `off` because it is off already still proves itself
(the power-off that fails on such a chassis kept hosts unfenced in Apache CloudStack, issue 13376).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.adapters.fencing.run_agent import AgentResult, run_agent
from app.domain.cluster import Proof
from app.ports.fencing import FenceFailed

#: Exit codes of action=status, FenceAgentAPI.md.
_ON, _OFF = 0, 2
_STATUS_SHARE, _STATUS_SECONDS_MAX = 0.3, 10.0
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class FenceDevice:
    """How to reach the power switch of one node: the agent's command and its options (`ip`, `password`, `plug`...)."""

    command: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("a fence device needs the command of its agent")
        for key, value in self.options.items():
            if not key or any(c in key for c in "=\n\r") or any(c in value for c in "\n\r"):
                raise ValueError(f"the option {key!r} of {self.command[0]} cannot be passed as one key=value line")
        if "action" in self.options:
            raise ValueError(f"the options of {self.command[0]} must not name the action")


class FenceAgent:
    """A FenceMethod: one device per node. Time-outs in seconds."""

    def __init__(self, name: str, devices: Mapping[str, FenceDevice]) -> None:
        self._name = name
        self._devices = dict(devices)

    @property
    def name(self) -> str:
        return self._name

    def covers(self, node: str) -> bool:
        return node in self._devices

    def fence(self, node: str, timeout_seconds: float) -> Proof:
        """Cut the power, read the state, and read it again while `off` was accepted but the node is still on."""
        device = self._devices.get(node)
        if device is None:
            raise FenceFailed(f"{self._name}: no device is configured for {node}")
        deadline = time.monotonic() + timeout_seconds
        for_status = min(_STATUS_SECONDS_MAX, timeout_seconds * _STATUS_SHARE)
        off = run_agent(device.command, {**device.options, "action": "off"}, timeout_seconds - for_status)
        while True:
            left = deadline - time.monotonic()
            status = run_agent(device.command, {**device.options, "action": "status"}, min(left, for_status))
            if _reads_off(status):
                return Proof(self._name, f"status off by {device.command[0]}")
            if off.exit_code != 0 or time.monotonic() + _PAUSE_SECONDS >= deadline:
                raise FenceFailed(f"{self._name}: {node} is not proven off; {_seen(device, off, status)}")
            time.sleep(_PAUSE_SECONDS)


def _reads_off(status: AgentResult) -> bool:
    """Exit 2 and the word. The code alone is no proof: an interpreter that cannot find or parse the agent exits 2
    as well (python, sh). All agents of the project print "Status: OFF"."""
    return status.exit_code == _OFF and "off" in status.said.lower()


def _seen(device: FenceDevice, off: AgentResult, status: AgentResult) -> str:
    words = f"{device.command[0]}: off: {'accepted' if off.exit_code == 0 else off.why}; status: "
    if status.exit_code == _ON:
        return words + "on"
    if status.exit_code == _OFF:
        return words + 'exit 2 without the word "off" (Status: OFF), which an agent that does not work exits with too'
    return words + status.why
