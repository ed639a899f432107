"""The hooks. Those that offer a driver are called once at start, and what they return is checked before anything runs
(see `registry`)."""

from collections.abc import Mapping

import pluggy

from app.domain.node import Node
from app.domain.vm import Vm
from app.plugin_api.drivers import BillingDriver, NetworkDriver, StorageDriver

PROJECT = "holdfast"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def holdfast_storage_driver() -> StorageDriver:  # type: ignore[empty-body]
    """Offer a kind of pool. Called in plugins of the group `holdfast.storage`."""


@hookspec
def holdfast_network_driver() -> NetworkDriver:  # type: ignore[empty-body]
    """Offer something that keeps this node's network paths alive. Group `holdfast.network`."""


@hookspec
def holdfast_billing_driver() -> BillingDriver:  # type: ignore[empty-body]
    """Offer a way to deliver events. Group `holdfast.billing`."""


@hookspec
def holdfast_admit_vm(project_id: int, plan: str, image: str, memory_mib: int) -> str | None:
    """Vote on the creation of a VM: None to let it pass, or the sentence that tells the customer why not.

    Called in every plugin, in the transaction of the request: it must be fast and must not write.
    """


@hookspec
def holdfast_placement_filter(vm: Vm, nodes: tuple[Node, ...]) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Refuse nodes for a VM: node name -> why not, as the end of a sentence that begins with the node's name.

    Called in every plugin whenever a VM is placed, with the nodes that all rules allow; a plugin without drivers is
    named in the group `holdfast.placement`. It must answer the same to the same question, at once, and write nothing.
    An answer of another type, an exception, or silence for a second is logged and does not count.
    """


@hookspec
def holdfast_placement_score(vm: Vm, nodes: tuple[Node, ...]) -> Mapping[str, float]:  # type: ignore[empty-body]
    """Prefer nodes for a VM: node name -> points, more is better; a node that is not named has 0.

    Points of all plugins are added and come before the strategy's own order. As for `holdfast_placement_filter`.
    """
