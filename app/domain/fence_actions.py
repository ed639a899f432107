"""Intents of the coordinator about a node that must not write any more; part of `actions`, where all of them are."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fence:
    """Try one fencing method on the node, at most `timeout_seconds` -> FenceAttempted."""

    epoch: int
    node: str
    method: str
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class ReadFence:
    """Read the state of the node's devices of that method, nothing else -> FenceRead. `asked_at`: when it begins."""

    epoch: int
    node: str
    method: str
    timeout_seconds: float
    asked_at: float


@dataclass(frozen=True, slots=True)
class CutStorage:
    """Cut the node off from the volumes of these pools, and read that it is -> FenceAttempted(method "storage").

    That it begins is written first, so that whoever leads next knows of it.
    """

    epoch: int
    node: str
    address: str
    pools: tuple[str, ...]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class ReadStorage:
    """Read whether the node is cut off from all of these pools -> FenceRead(method "storage")."""

    epoch: int
    node: str
    address: str
    pools: tuple[str, ...]
    timeout_seconds: float
    asked_at: float


@dataclass(frozen=True, slots=True)
class RestoreStorage:
    """Let the node have these pools again, as far as the cut with that number took them -> StorageRestored."""

    epoch: int
    node: str
    address: str
    pools: tuple[str, ...]
    token: int
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class SoftFence:
    """Tell the API of that node that the agent there is silent or gone (`kind`), and write that down. No answer."""

    epoch: int
    node: str
    kind: str
    silent_seconds: float
