"""What a pool may offer besides its volumes: to take them away from one node.

A cut has a number, the token. The pool keeps for each node the highest token that it was told to cut with and the
highest that it was told to restore, and the node is cut off while the first is the greater. So orders may come twice,
late or in any order, as those of a coordinator that was replaced do: one to restore never undoes a cut that is newer
than itself, and one to cut that was restored since has no effect. The check and the change must be one step.
"""

from dataclasses import dataclass
from typing import Protocol

from app.ports.fencing import FenceReading


@dataclass(frozen=True, slots=True)
class StorageClient:
    """A node as a pool knows it: by its name, and by the address that the cluster's layout gives it."""

    node: str
    address: str


class StorageFence(Protocol):
    """Each call blocks for `timeout_seconds` at most, from any node. StorageError when it could not be done or read."""

    def cut(self, client: StorageClient, token: int, timeout_seconds: float) -> None:
        """From when it returns the node can write to no volume of this pool, also with what it had opened before."""

    def read(self, client: StorageClient, timeout_seconds: float) -> FenceReading:
        """Whether it is cut off (`off`), as those see it that would carry out its writes; changes nothing."""

    def restore(self, client: StorageClient, token: int, timeout_seconds: float) -> None:
        """Undo the cuts up to that token; no error if there is none."""
