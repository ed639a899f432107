"""The hypervisor port on libvirt. The only room that knows libvirt and its XML."""

from app.adapters.libvirt.hypervisor import LibvirtHypervisor

__all__ = ["LibvirtHypervisor"]
