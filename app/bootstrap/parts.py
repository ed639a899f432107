"""The adapters of an agent, as the configuration wants them."""

from collections.abc import Mapping
from pathlib import Path

from app.adapters.fencing.fence_agents import FenceAgent, FenceDevice
from app.adapters.libvirt.hypervisor import LibvirtHypervisor
from app.adapters.libvirt.migration import MigrationChoices
from app.adapters.system.no_hypervisor import NoHypervisor
from app.adapters.watchdog.device import DeviceWatchdog, NoWatchdog, OpenedByFirstFeed, timeout_kept
from app.config import Config, method_of_level
from app.domain.node import NodeRole
from app.plugin_api.registry import Registry
from app.ports.billing import Delivery
from app.ports.fencing import FenceMethods
from app.ports.hypervisor import Hypervisor
from app.ports.storage import Pool
from app.ports.storage_fence import StorageFence
from app.ports.watchdog import Watchdog
from app.services.route_delivery import ByScheme


def build_hypervisor(config: Config) -> Hypervisor:
    """libvirt on this node, none on a witness. QEMU writes the consoles itself, so their directory must be there."""
    if config.node.role is NodeRole.WITNESS:
        return NoHypervisor()
    Path(config.libvirt.console_dir).mkdir(parents=True, exist_ok=True)
    way = config.migration
    choices = MigrationChoices(way.uri, way.data_uri, way.tls, way.unsafe, way.bandwidth_mib_per_second_max)
    return LibvirtHypervisor(
        config.libvirt.uri, config.libvirt.domain_type, config.libvirt.console_dir, migration=choices
    )


def build_pools(config: Config, registry: Registry) -> Mapping[str, Pool]:
    """Every configured pool, by name."""
    return {p.name: registry.storage(p.driver, p.options, name=p.name, shared=p.shared) for p in config.pools}


def build_storage_fences(config: Config, registry: Registry) -> Mapping[str, StorageFence]:
    """Those of the pools that offer one, by the pool's name."""
    found = {p.name: registry.storage_fence(p.driver, p.options, name=p.name, shared=p.shared) for p in config.pools}
    return {name: fence for name, fence in found.items() if fence is not None}


def build_watchdog(config: Config) -> Watchdog:
    """The configured device, armed when it is fed for the first time; or none."""
    path, wanted = config.watchdog.path, config.watchdog.timeout_seconds
    if not path:
        return NoWatchdog()
    return OpenedByFirstFeed(timeout_kept(path, wanted), lambda: DeviceWatchdog(path, wanted))


def build_fence_methods(config: Config) -> FenceMethods:
    """The fence agents of all nodes, a method for each level: any node may be the coordinator."""
    levels: dict[int, dict[str, list[FenceDevice]]] = {}
    for d in config.fence_devices:
        levels.setdefault(d.level, {}).setdefault(d.node, []).append(FenceDevice(d.command, d.options))
    return tuple(FenceAgent(method_of_level(level), those) for level, those in sorted(levels.items()))


def build_delivery(config: Config, registry: Registry) -> Delivery:
    """Webhooks by the configured plugin, and mail where there is a mail server."""
    hooks = config.webhooks
    web = registry.billing(hooks.driver, {"allow_private_targets": hooks.allow_private_targets})
    mail = {"mailto": registry.billing("mail", config.notify.mail)} if config.notify.mail else {}
    return ByScheme({"http": web, "https": web, **mail})
