"""One piece of work on one VM: volumes by its pool's plugin, the domain by the hypervisor."""

from collections.abc import Sequence

import structlog

from app.domain import actions as do
from app.domain.errors import Conflict
from app.domain.events import Event, VmWorkDone
from app.domain.records import Image
from app.domain.vm import Vm
from app.engine.ports import AgentPorts
from app.ports.hypervisor import DomainSpec, HypervisorError, Passenger
from app.ports.storage import Pool, StorageError
from app.ports.store import StoreUnavailable
from app.ports.tracing import Attributes
from app.services.remove_vm import remove_vm

log = structlog.get_logger(__name__)


def vm_work(action: do.Action, ports: AgentPorts) -> Sequence[Event]:
    """Do it and say how it ended."""
    request = ""
    match action:
        case do.StartVm(vm):
            name, vm_id, generation, request = "start", vm.id, vm.generation, vm.correlation_id
        case do.MigrateVm(vm):
            name, vm_id, generation, request = "migrate", vm.id, vm.generation, vm.correlation_id
        case do.AbortMove(vm_id, generation):
            name = "abort"
        case do.RemoveVm(vm):
            name, vm_id, generation, request = "remove", vm.id, vm.generation, vm.correlation_id
        case do.StopVm(vm_id, generation, _, request):
            name = "stop"
        case do.DestroyVm(vm_id, generation):
            name = "destroy"
        case do.PauseVm(vm_id, generation):
            name = "pause"
        case do.ResumeVm(vm_id, generation):
            name = "resume"
        case do.ResetVm(vm_id, generation, _, request):
            name = "reset"
        case _:
            raise TypeError(f"not work on a VM: {action}")
    about: Attributes = {
        "holdfast.vm.id": vm_id,
        "holdfast.vm.generation": generation,
        "holdfast.node": ports.facts.name,
    }
    with (
        structlog.contextvars.bound_contextvars(**({"correlation_id": request} if request else {})),
        ports.tracer.span(f"vm {name}", request, about) as span,
    ):
        error = _tried(action, ports, name, vm_id)
        if error:
            span.failed(error)
    return (VmWorkDone(vm_id, generation, name, error),)


def _tried(action: do.Action, ports: AgentPorts, name: str, vm_id: int) -> str:
    """What went wrong; empty when it is done."""
    try:
        return _do(action, ports)
    except (HypervisorError, StorageError, StoreUnavailable, Conflict) as failed:
        return str(failed) or type(failed).__name__
    except Exception as defect:
        log.exception("unexpected failure", work=name, vm=vm_id)
        return f"{type(defect).__name__}: {defect}"


def _do(action: do.Action, ports: AgentPorts) -> str:
    hypervisor = ports.hypervisor
    match action:
        case do.StartVm(vm, not_after):
            return _start(vm, not_after, ports)
        case do.MigrateVm(vm, not_after):
            return _migrate(vm, not_after, ports)
        case do.AbortMove(vm_id, generation):
            hypervisor.abort_migration(vm_id, generation)
        case do.RemoveVm(vm):
            _remove(vm, ports)
        case do.StopVm(vm_id, generation, mode):
            hypervisor.stop(vm_id, generation, mode)
        case do.DestroyVm(vm_id, generation, reason):
            log.info("ends a copy", vm=vm_id, generation=generation, reason=reason)
            hypervisor.destroy(vm_id, generation)
        case do.PauseVm(vm_id, generation):
            hypervisor.pause(vm_id, generation)
        case do.ResumeVm(vm_id, generation, not_after):
            if ports.clock.monotonic() > not_after:
                return "not resumed: the reading of the database that allows it is too old"
            hypervisor.resume(vm_id, generation)
        case do.ResetVm(vm_id, generation, mode):
            hypervisor.reset(vm_id, generation, mode)
    return ""


def volume_name(vm: Vm) -> str:
    """The name of the VM's system volume in its pool."""
    return f"vm-{vm.id}-0"


def _start(vm: Vm, not_after: float, ports: AgentPorts) -> str:
    image = ports.store.run(lambda tx: next(iter(tx.images.where(name=vm.image)), None))
    if image is None:
        return f"image {vm.image} does not exist any more"
    pool = _pool(vm, ports)
    disk = pool.ensure_volume(volume_name(vm), image_path=image.path, size_gib=vm.disk_gib)
    kernel, initrd = _boot(image, pool)
    spec = DomainSpec(
        vm_id=vm.id,
        generation=vm.generation,
        node=ports.facts.name,
        name=vm.name,
        cores=vm.cores,
        memory_mib=vm.memory_mib,
        disks=(disk,),
        kernel=kernel,
        initrd=initrd,
        cmdline=image.cmdline,
        correlation_id=vm.correlation_id,
    )
    # The last look at the clock before the point of no return: a process that was stopped for a while must not
    # go on with what it had read before.
    if ports.clock.monotonic() > not_after:
        return "not started: the reading of the database that allows it is too old"
    ports.hypervisor.start(spec)
    return ""


def _migrate(vm: Vm, not_after: float, ports: AgentPorts) -> str:
    if ports.clock.monotonic() > not_after:
        return "not migrated: the reading of the database that allows it is too old"
    target = ports.store.run(lambda tx: next(iter(tx.nodes.where(name=vm.migrating_to)), None))
    if target is None:
        return f"there is no node {vm.migrating_to} any more"
    passenger = Passenger(target.name, target.address, vm.migration.generation)
    ports.hypervisor.migrate(vm.id, vm.generation, passenger)
    return ""


def _boot(image: Image, pool: Pool) -> tuple[str, str]:
    """Kernel and initrd for a direct boot; both empty for an image with a boot loader of its own."""
    if not image.kernel:
        return "", ""
    return pool.image_path(image.kernel), pool.image_path(image.initrd) if image.initrd else ""


def _remove(vm: Vm, ports: AgentPorts) -> None:
    for domain in ports.hypervisor.domains():
        if domain.vm_id == vm.id:
            ports.hypervisor.destroy(vm.id, domain.generation)
    _pool(vm, ports).remove_volume(volume_name(vm))
    now = ports.clock.utc()
    ports.store.run(lambda tx: remove_vm(tx, vm.id, ports.facts.name, vm.generation, now))


def _pool(vm: Vm, ports: AgentPorts) -> Pool:
    pool = ports.pools.get(vm.pool)
    if pool is None:
        raise StorageError(f"pool {vm.pool} is not configured on {ports.facts.name}")
    return pool
