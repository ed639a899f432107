"""What the drivers of libvirt can and cannot do, in one place.

`qemu` and `kvm` are domain types of the QEMU driver. `test` is libvirt's own in-memory driver
(`test:///default`): domains without guests, for a first look without root and QEMU. Facts about it were
read from libvirt 9.0 (`src/test/test_driver.c`) and tried out.
"""

from dataclasses import dataclass

import libvirt

_UNDEFINE_ALL = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)


@dataclass(frozen=True, slots=True)
class Driver:
    """The differences that the adapter cares for. `cpu`: mode or model used unless the operator says another.

    * `sees_guest`: block statistics and the state of the agent channel say something about a guest.
    * `power_button`, `undefine_flags`: flags that this driver accepts.
    * `daemon`: there is one behind the connection. Else all domains live in this process, for as long as a
      connection is open.
    """

    domain_type: str
    cpu: str
    sees_guest: bool = True
    power_button: int = libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN
    undefine_flags: int = _UNDEFINE_ALL
    daemon: bool = True


_DRIVERS = {
    # host-model: the richest CPU that can still migrate. kvm only.
    "kvm": Driver("kvm", cpu="host-model"),
    # No CPU element under software emulation: the machine's own qemu64, which every build can emulate.
    "qemu": Driver("qemu", cpu=""),
    # Its block statistics are made up from the clock, shutdown takes no flags, undefine knows no NVRAM.
    "test": Driver("test", cpu="", sees_guest=False, power_button=0, undefine_flags=0, daemon=False),
}


def driver_for(domain_type: str) -> Driver:
    """The driver of a domain type; ValueError names the known ones."""
    try:
        return _DRIVERS[domain_type]
    except KeyError:
        known = ", ".join(sorted(_DRIVERS))
        raise ValueError(f"unknown libvirt domain type {domain_type!r}: use one of {known}") from None
