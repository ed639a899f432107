"""Power fencing by the agents of the fence-agents project (Debian: `fence-agents`), or any that keeps their contract.

The proof is never that `off` said "done": it is a separate `status` that reads off afterwards. So a device that
lies is found out, and a chassis that refuses `off` because it is off already still proves itself
(the power-off that fails on such a chassis kept hosts unfenced in Apache CloudStack, issue 13376).
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from app.adapters.fencing.run_agent import AgentResult, run_agent
from app.domain.cluster import Proof
from app.ports.fencing import FenceFailed, FenceReading

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
    """A FenceMethod: one level, with one or more devices for each node. Time-outs in seconds.

    A server with two power supplies has two devices: both are asked at once, none is ever switched on again here, and
    the node is off when one round of readings finds all of them off.
    """

    def __init__(self, name: str, devices: Mapping[str, Sequence[FenceDevice]]) -> None:
        self._name = name
        self._devices = {node: tuple(those) for node, those in devices.items() if those}

    @property
    def name(self) -> str:
        return self._name

    def covers(self, node: str) -> bool:
        return node in self._devices

    def fence(self, node: str, timeout_seconds: float) -> Proof:
        """Cut the power, read the state, and read it again while `off` was accepted but the node is still on."""
        devices = self._of(node)
        deadline = time.monotonic() + timeout_seconds
        for_status = min(_STATUS_SECONDS_MAX, timeout_seconds * _STATUS_SHARE)
        offs = _ask(devices, "off", timeout_seconds - for_status)
        answered: list[AgentResult] = []
        while True:
            states = _ask(devices, "status", min(deadline - time.monotonic(), for_status))
            answered = [a if s.exit_code is None else s for s, a in zip(states, answered or states, strict=True)]
            if all(map(_reads_off, states)):
                return Proof(self._name, f"status off by {_names(devices)}")
            refused = any(off.exit_code != 0 for off in offs)
            if refused or time.monotonic() + _PAUSE_SECONDS >= deadline:
                seen = "; ".join(map(_seen, devices, offs, answered))  # the last reading may be cut off by the deadline
                raise FenceFailed(f"{self._name}: {node} is not proven off; {seen}")
            time.sleep(_PAUSE_SECONDS)

    def read(self, node: str, timeout_seconds: float) -> FenceReading:
        """One `status` of each device."""
        devices = self._of(node)
        states = _ask(devices, "status", timeout_seconds)
        unclear = [f"{d.command[0]}: {_state(s)}" for d, s in zip(devices, states, strict=True) if not _is_clear(s)]
        if unclear:
            raise FenceFailed(f"{self._name}: the state of {node} cannot be read; {'; '.join(unclear)}")
        said = ", ".join(f"{d.command[0]}: {_state(s)}" for d, s in zip(devices, states, strict=True))
        return FenceReading(all(map(_reads_off, states)), said)

    def _of(self, node: str) -> tuple[FenceDevice, ...]:
        if node not in self._devices:
            raise FenceFailed(f"{self._name}: no device is configured for {node}")
        return self._devices[node]


def _ask(devices: Sequence[FenceDevice], action: str, timeout_seconds: float) -> list[AgentResult]:
    """All of them at once: the second must not wait for the time-out of the first."""
    with ThreadPoolExecutor(len(devices)) as pool:
        return list(pool.map(lambda d: run_agent(d.command, {**d.options, "action": action}, timeout_seconds), devices))


def _names(devices: Sequence[FenceDevice]) -> str:
    return ", ".join(d.command[0] for d in devices)


def _is_clear(status: AgentResult) -> bool:
    return status.exit_code == _ON or _reads_off(status)


def _reads_off(status: AgentResult) -> bool:
    """Exit 2 and the word. The code alone is no proof: an interpreter that cannot find or parse the agent exits 2
    as well (python, sh). All agents of the project print "Status: OFF"."""
    return status.exit_code == _OFF and "off" in status.said.lower()


def _seen(device: FenceDevice, off: AgentResult, status: AgentResult) -> str:
    said = "accepted" if off.exit_code == 0 else off.why
    return f"{device.command[0]}: off: {said}; status: {_state(status)}"


def _state(status: AgentResult) -> str:
    if status.exit_code == _ON:
        return "on"
    if _reads_off(status):
        return "off"
    if status.exit_code == _OFF:
        return 'exit 2 without the word "off" (Status: OFF), which an agent that does not work exits with too'
    return status.why
