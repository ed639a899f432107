"""The hooks. Each is called once at start; what it returns is checked before anything runs (see `registry`)."""

import pluggy

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
