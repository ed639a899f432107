"""All that a plugin may import.

A plugin is a module with hook implementations (`hookimpl`), named by an entry point in one of the groups
`holdfast.storage`, `holdfast.network`, `holdfast.billing`, `holdfast.placement`.
See `hookspecs` for what it can implement.
"""

from app.domain.node import Node
from app.domain.records import OutboxMessage, WebhookEndpoint
from app.domain.storage_path import (
    CarrierSeen,
    Observation,
    PathDecision,
    PathSettings,
    PathsState,
    PathState,
    ProbeSeen,
    choose_path,
    start_state,
)
from app.domain.vm import Vm
from app.plugin_api.drivers import BillingDriver, NetworkContext, NetworkDriver, PoolContext, StorageDriver
from app.plugin_api.hookspecs import hookimpl
from app.ports.billing import Delivery, DeliveryResult
from app.ports.fencing import FenceReading
from app.ports.hypervisor import Disk
from app.ports.network import PathReport, PathWatch
from app.ports.storage import Pool, StorageError
from app.ports.storage_fence import StorageClient, StorageFence

__all__ = [
    "BillingDriver",
    "CarrierSeen",
    "Delivery",
    "DeliveryResult",
    "Disk",
    "FenceReading",
    "NetworkContext",
    "NetworkDriver",
    "Node",
    "Observation",
    "OutboxMessage",
    "PathDecision",
    "PathReport",
    "PathSettings",
    "PathState",
    "PathWatch",
    "PathsState",
    "Pool",
    "PoolContext",
    "ProbeSeen",
    "StorageClient",
    "StorageDriver",
    "StorageError",
    "StorageFence",
    "Vm",
    "WebhookEndpoint",
    "choose_path",
    "hookimpl",
    "start_state",
]
