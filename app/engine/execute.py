"""One match: action -> port call, run in the lane that fits it. The result comes back as an event.

Lanes: `store` (this node's reading and reporting), `lead` (the coordinator's), `hypervisor` (listing), `health`,
`fence`, those of `heartbeat_work`, and one per VM (`vm-17`), so that nothing waits behind something that hangs.
"""

from collections.abc import Callable, Sequence
from typing import assert_never

import structlog

from app.domain import actions as do
from app.domain import events as fact
from app.domain import fence_actions as fencing
from app.domain.errors import Conflict, StaleEpoch
from app.domain.events import Event
from app.domain.heartbeat_actions import NoteClass, ReadBeats, ReadKeeps, WriteBeat, WriteKeeps
from app.engine.heartbeat_work import heartbeat_work, lane_of
from app.engine.ports import AgentPorts
from app.engine.soft_fencing import soft_fence
from app.engine.storage_fencing import cut_storage, read_storage, restore_storage
from app.engine.vm_work import vm_work
from app.ports.fencing import FenceFailed, FenceMethod
from app.ports.hypervisor import HypervisorError
from app.ports.machine import RebootRefused
from app.ports.package import UpgradeRefused
from app.ports.store import StoreUnavailable, Transaction
from app.services.advance_rolling import advance_rolling
from app.services.begin_migration import commit_moves
from app.services.commit_plan import commit_plan
from app.services.epoch import win_epoch
from app.services.finish_migration import end_migration, note_migration
from app.services.incidents import (
    cancel_incident,
    close_incident,
    hold_fence,
    note_step,
    open_incident,
    record_proof,
    void_proof,
)
from app.services.leave_node import release_vm
from app.services.load_view import load_desired, load_incoming, load_view
from app.services.note_class import note_class
from app.services.quarantine import end_quarantine
from app.services.rejoin_node import rejoin_node
from app.services.report_observed import report_observed

log = structlog.get_logger(__name__)


def execute(action: do.Action, ports: AgentPorts) -> None:
    """Start what the action asks for. Never blocks and never raises for what the world does."""
    match action:
        case do.FeedWatchdog():
            ports.watchdog.feed()
        case do.SendSignal(kind, epoch):
            ports.membership.send(kind, epoch=epoch)
        case do.ListDomains():
            ports.workers.submit("hypervisor", lambda: _list_domains(ports))
        case do.CheckHealth():
            ports.workers.submit("health", lambda: _check_health(ports))
        case do.LoadDesired():
            ports.workers.submit("store", lambda: _store("desired", _load_desired(ports)))
        case do.Report() as report:
            ports.workers.submit("store", lambda: _store("report", _report(ports, report)))
        case do.Rejoin():
            ports.workers.submit("store", lambda: _store("rejoin", _rejoin(ports)))
        case do.NoteMove(vm_id) | do.EndMove(vm_id) | do.ReleaseVm(vm_id):
            ports.workers.submit("store", lambda: _store(f"move-{vm_id}", _write_move(ports, action)))
        case do.MigrateVm(vm):
            ports.workers.submit(f"move-{vm.id}", lambda: vm_work(action, ports))
        case do.AbortMove(vm_id):
            ports.workers.submit(f"abort-{vm_id}", lambda: vm_work(action, ports))
        case do.StartVm(vm) | do.RemoveVm(vm):
            ports.workers.submit(f"vm-{vm.id}", lambda: vm_work(action, ports))
        case do.StopVm(vm_id) | do.DestroyVm(vm_id) | do.PauseVm(vm_id) | do.ResumeVm(vm_id) | do.ResetVm(vm_id):
            lane = f"destroy-{vm_id}" if isinstance(action, do.DestroyVm) else f"vm-{vm_id}"
            ports.workers.submit(lane, lambda: vm_work(action, ports))
        case do.RebootNode(boot_id):
            ports.workers.submit("reboot", lambda: _reboot(ports, boot_id))
        case do.UpgradeNode(version):
            ports.workers.submit("upgrade", lambda: _upgrade(ports, version))
        case WriteBeat() | ReadKeeps() | ReadBeats() | WriteKeeps():
            ports.workers.submit(lane_of(action), lambda: heartbeat_work(action, ports))
        case fencing.Fence() as fence:
            ports.workers.submit(f"fence-{fence.node}-{fence.method}", lambda: _fence(ports, fence))
        case fencing.ReadFence() as read:
            ports.workers.submit(f"fence-{read.node}-{read.method}.read", lambda: _read_fence(ports, read))
        case fencing.CutStorage(_, node):
            ports.workers.submit(f"fence-{node}-storage", lambda: cut_storage(ports, action))
        case fencing.ReadStorage(_, node):
            ports.workers.submit(f"fence-{node}-storage.read", lambda: read_storage(ports, action))
        case fencing.RestoreStorage(_, node):
            ports.workers.submit(f"fence-{node}-storage.back", lambda: restore_storage(ports, action))
        case fencing.SoftFence():
            soft_fence(ports, action)
        case do.Campaign():
            ports.workers.submit("lead", lambda: _store("campaign", _campaign(ports)))
        case do.LoadView():
            ports.workers.submit("lead", lambda: _store("view", _load_view(ports)))
        case (
            do.OpenIncident()
            | do.CancelIncident()
            | do.NoteStep()
            | do.RecordProof()
            | do.CommitPlan()
            | do.CommitMoves()
            | do.AdvanceRolling()
            | do.CloseIncident()
            | do.VoidProof()
            | do.HoldFence()
            | do.EndQuarantine()
            | NoteClass()
        ):
            ports.workers.submit("lead", lambda: _lead(ports, action))
        case _:
            assert_never(action)


def _unexpected(what: str, error: Exception) -> str:
    """A defect of ours must not leave a core waiting for an answer for ever: it is logged and counts as a failure."""
    log.exception("unexpected failure", what=what)
    return f"{type(error).__name__}: {error}"


def _store(what: str, work: Callable[[], Event]) -> Sequence[Event]:
    try:
        return (work(),)
    except (StoreUnavailable, Conflict) as error:
        return (fact.StoreLost(what, str(error)),)
    except Exception as error:  # noqa: BLE001
        return (fact.StoreLost(what, _unexpected(what, error)),)


def _list_domains(ports: AgentPorts) -> Sequence[Event]:
    try:
        return (fact.DomainsListed(tuple(ports.hypervisor.domains())),)
    except HypervisorError as error:
        return (fact.HypervisorLost(str(error)),)
    except Exception as error:  # noqa: BLE001
        return (fact.HypervisorLost(_unexpected("listing domains", error)),)


def _check_health(ports: AgentPorts) -> Sequence[Event]:
    try:
        return (fact.HealthChecked(ports.check_health(), ports.check_database()),)
    except Exception as error:  # noqa: BLE001
        return (fact.HealthChecked((_unexpected("health check", error),)),)


def _load_desired(ports: AgentPorts) -> Callable[[], Event]:
    def work() -> Event:
        asked_at = ports.clock.monotonic()
        me = ports.facts.name
        (node, vms, gates, armed), incoming = ports.store.run(lambda tx: (load_desired(tx, me), load_incoming(tx, me)))
        return fact.DesiredLoaded(node, vms, asked_at, incoming, gates, armed)

    return work


def _report(ports: AgentPorts, report: do.Report) -> Callable[[], Event]:
    def work() -> Event:
        now = ports.clock.utc()
        ports.store.run(lambda tx: report_observed(tx, ports.facts, report.seen, report.health, now, report.database))
        return fact.Reported()

    return work


def _write_move(ports: AgentPorts, action: do.NoteMove | do.EndMove | do.ReleaseVm) -> Callable[[], Event]:
    def work() -> Event:
        me, now = ports.facts.name, ports.clock.utc()
        match action:
            case do.NoteMove(vm_id, _, passenger, percent):
                ports.store.run(lambda tx: note_migration(tx, me, vm_id, passenger, percent))
            case do.EndMove(vm_id, _, passenger, how, error):
                ports.store.run(lambda tx: end_migration(tx, me, vm_id, passenger, how, error, now))
            case do.ReleaseVm(vm_id, generation):
                ports.store.run(lambda tx: release_vm(tx, me, vm_id, generation, now))
        return fact.Written(f"move-{action.vm_id}")

    return work


def _rejoin(ports: AgentPorts) -> Callable[[], Event]:
    def work() -> Event:
        now = ports.clock.utc()
        ports.store.run(lambda tx: rejoin_node(tx, ports.facts.name, now))
        return fact.Written("rejoin")

    return work


def _campaign(ports: AgentPorts) -> Callable[[], Event]:
    def work() -> Event:
        now = ports.clock.utc()
        return fact.EpochWon(ports.store.run(lambda tx: win_epoch(tx, ports.facts.name, now)))

    return work


def _load_view(ports: AgentPorts) -> Callable[[], Event]:
    def work() -> Event:
        asked_at = ports.clock.monotonic()
        view = ports.store.run(lambda tx: load_view(tx, ports.clock.utc(), ports.placement))
        return fact.ViewLoaded(view, asked_at)

    return work


def _lead(ports: AgentPorts, action: do.Action) -> Sequence[Event]:
    """A coordinator's write. A replaced coordinator is told so by its own write."""
    what, node, write = _lead_write(ports, action)
    try:
        ports.store.run(write)
    except StaleEpoch:
        return (fact.EpochLost(getattr(action, "epoch", 0)),)
    except (StoreUnavailable, Conflict) as error:
        return (fact.StoreLost(f"{what}:{node}", str(error)),)
    except Exception as error:  # noqa: BLE001
        return (fact.StoreLost(f"{what}:{node}", _unexpected(what, error)),)
    return (fact.Written(what, node),)


def _lead_write(ports: AgentPorts, action: do.Action) -> tuple[str, str, Callable[[Transaction], None]]:
    now = ports.clock.utc()
    match action:
        case do.OpenIncident(epoch, node, ago, silent):
            return "open", node, lambda tx: open_incident(tx, epoch, node, ago, now, silent=silent)
        case do.CancelIncident(epoch, node):
            return "cancel", node, lambda tx: cancel_incident(tx, epoch, node, now)
        case do.NoteStep(epoch, node, what, detail):
            return "note", node, lambda tx: note_step(tx, epoch, node, what, detail, now)
        case NoteClass(epoch, node, what, detail):
            return "class", node, lambda tx: note_class(tx, epoch, node, what, detail, now)
        case do.RecordProof(epoch, node, proof):
            return "proof", node, lambda tx: record_proof(tx, epoch, node, proof, now)
        case do.CommitPlan(epoch, plan):
            return "plan", plan.node, lambda tx: commit_plan(tx, epoch, plan, now)
        case do.CommitMoves(epoch, moves):
            return "moves", "", lambda tx: commit_moves(tx, epoch, moves, now)
        case do.AdvanceRolling(epoch, turn):
            return "rolling", "", lambda tx: advance_rolling(tx, epoch, turn, now)
        case do.CloseIncident(epoch, node, incident_id):
            return "close", node, lambda tx: close_incident(tx, epoch, incident_id, now)
        case do.VoidProof(epoch, node, method, why):
            return "void", node, lambda tx: void_proof(tx, epoch, node, method, why, now)
        case do.HoldFence(epoch, node, why):
            return "hold", node, lambda tx: hold_fence(tx, epoch, node, why, now)
        case do.EndQuarantine(epoch, node):
            return "release", node, lambda tx: end_quarantine(tx, epoch, node, now)
        case _:
            raise TypeError(f"not a coordinator's write: {action}")


def _reboot(ports: AgentPorts, boot_id: str) -> Sequence[Event]:
    """Only the boot that was to end: what asked for it may have been read before the reboot that it asked for."""
    if ports.machine is None or ports.facts.boot_id != boot_id:
        return ()
    try:
        ports.machine.reboot()
    except RebootRefused as error:
        return (fact.RebootAsked(str(error)),)
    except Exception as error:  # noqa: BLE001
        return (fact.RebootAsked(_unexpected("rebooting", error)),)
    return (fact.RebootAsked(),)


def _upgrade(ports: AgentPorts, version: str) -> Sequence[Event]:
    """Not to what it runs already: what asked for it may have been read before the upgrade that it asked for."""
    if ports.package is None or ports.facts.version == version:
        return ()
    try:
        ports.package.upgrade(version)
    except UpgradeRefused as error:
        return (fact.UpgradeAsked(str(error)),)
    except Exception as error:  # noqa: BLE001
        return (fact.UpgradeAsked(_unexpected("upgrading", error)),)
    return (fact.UpgradeAsked(),)


def _fence(ports: AgentPorts, fence: fencing.Fence) -> Sequence[Event]:
    method = _method(ports, fence.method, fence.node)
    if method is None:
        error = f"no fence device of method {fence.method} is configured for {fence.node}"
        return (fact.FenceAttempted(fence.epoch, fence.node, fence.method, None, error),)
    try:
        proof = method.fence(fence.node, fence.timeout_seconds)
    except FenceFailed as failed:
        return (fact.FenceAttempted(fence.epoch, fence.node, fence.method, None, str(failed)),)
    except Exception as error:  # noqa: BLE001
        text = _unexpected("fencing", error)
        return (fact.FenceAttempted(fence.epoch, fence.node, fence.method, None, text),)
    return (fact.FenceAttempted(fence.epoch, fence.node, fence.method, proof),)


def _read_fence(ports: AgentPorts, read: fencing.ReadFence) -> Sequence[Event]:
    def said(off: bool | None, text: str) -> Sequence[Event]:
        return (fact.FenceRead(read.epoch, read.node, read.method, off, text, read.asked_at),)

    method = _method(ports, read.method, read.node)
    if method is None:
        return said(None, "no such device is configured")
    try:
        seen = method.read(read.node, read.timeout_seconds)
    except FenceFailed as failed:
        return said(None, str(failed))
    except Exception as error:  # noqa: BLE001
        return said(None, _unexpected("reading a fence device", error))
    return said(seen.off, seen.said)


def _method(ports: AgentPorts, name: str, node: str) -> FenceMethod | None:
    return next((m for m in ports.fence_methods if m.name == name and m.covers(node)), None)
