"""What a plugin offers: a name to configure it by, a model of its options, and how to open it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from app.ports.billing import Delivery
from app.ports.network import PathWatch
from app.ports.storage import Pool
from app.ports.storage_fence import StorageFence


@dataclass(frozen=True, slots=True)
class PoolContext:
    """What the product tells a storage plugin about the pool it opens. `shared`: all nodes see the same volumes."""

    name: str
    shared: bool


@dataclass(frozen=True, slots=True)
class NetworkContext:
    """What the product tells a network plugin: its node, and whom to tell when a path changed (kind, text)."""

    node: str
    notify: Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class StorageDriver:
    """`options` is a pydantic model with extra="forbid"; `open(options, context)` must not block for long.

    `fence(options, context)` where its pools can cut a node off from their volumes; None where they cannot.
    """

    name: str
    options: type[BaseModel]
    open: Callable[[Any, PoolContext], Pool]
    fence: Callable[[Any, PoolContext], StorageFence] | None = None


@dataclass(frozen=True, slots=True)
class NetworkDriver:
    """`open` only builds; the watch begins with its `start`."""

    name: str
    options: type[BaseModel]
    open: Callable[[Any, NetworkContext], PathWatch]


@dataclass(frozen=True, slots=True)
class BillingDriver:
    """A way to deliver events to the outside."""

    name: str
    options: type[BaseModel]
    open: Callable[[Any], Delivery]
