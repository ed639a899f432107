"""libvirt's state and reason to the domain's words."""

import libvirt

from app.domain.events import DomainState

_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.RUNNING,
    # The guest was asked to power off and still runs.
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainState.SHUTOFF,
    # on_crash is `preserve`: its QEMU is there, stands still and holds the disks open.
    libvirt.VIR_DOMAIN_CRASHED: DomainState.PANICKED,
}

_ENDED = {
    libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: "migrated",
    # The daemon ended it because it could not go on, e.g. the monitor broke.
    libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: "crashed",
}


def state_of(code: int) -> DomainState:
    """A state that we do not know counts as running: it must not be started a second time."""
    return _STATES.get(code, DomainState.RUNNING)


def why_ended(code: int, reason: int) -> str:
    """`shutdown` (by the guest), `destroyed`, `crashed`, `migrated`, or empty: never ran, failed to start, unknown."""
    return _ENDED.get(reason, "") if code == libvirt.VIR_DOMAIN_SHUTOFF else ""


_PAUSED_BY = {libvirt.VIR_DOMAIN_PAUSED_IOERROR: "io-error", libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: "watchdog"}


def paused_by(code: int, reason: int) -> str:
    """`io-error`, `watchdog`, or empty: paused by us, or not paused."""
    return _PAUSED_BY.get(reason, "") if code == libvirt.VIR_DOMAIN_PAUSED else ""
