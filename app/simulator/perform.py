"""What the commands of a script do to a cluster."""

from collections.abc import Callable
from dataclasses import replace

from app.adapters.sim.hypervisor import SimHypervisor
from app.domain.errors import DomainError
from app.domain.host_shutdown import ShutdownPolicy
from app.domain.vm import Desired, StopMode, Vm
from app.ports.store import Transaction
from app.services.cancel_migration import cancel_migration
from app.services.confirm_dead import confirm_dead
from app.services.disarm_cluster import arm_cluster, disarm_cluster, lift_storm_guard
from app.services.drain_node import drain_node
from app.services.quarantine import release_node
from app.services.request_migration import request_migration
from app.services.return_node import return_node
from app.services.start_rolling import start_rolling, start_upgrade
from app.services.stop_rolling import stop_rolling
from app.simulator.cluster import SimCluster
from app.simulator.requests import REQUESTS, perform_request
from app.simulator.script import Command


def perform(cluster: SimCluster, command: Command) -> None:
    """Let it happen now."""
    cluster.tell(">>", str(command))
    about = command.about
    if command.words in _OPERATORS:
        _operator(cluster, command)
    elif command.words in REQUESTS:
        perform_request(cluster, command.words, about)
    elif command.words[0] == "vm":
        _customer(cluster, command.words[1], about[0])
    elif command.words[0] in _KINDS:
        _KINDS[command.words[0]](cluster, command)
    elif command.words[0] not in ("end", "rest"):
        _machine(cluster, command)


def _machine(cluster: SimCluster, command: Command) -> None:
    name = command.about[0] if command.about else ""
    match command.words:
        case ("power", "off"):
            cluster.power_off(name, "somebody cut the power")
        case ("power", "on"):
            cluster.power_on(name)
        case ("freeze",):
            cluster.freeze(name)
        case ("thaw",):
            cluster.thaw(name)
        case ("slow",):
            cluster.slow_down(name, int(command.about[1]))
        case ("upgrade",):
            cluster.upgrade(name)
        case ("cut",):
            cluster.cut(frozenset(command.about))
        case ("apart",):
            cluster.lose((name, command.about[1]), (command.about[1], name))
        case ("deaf",):
            cluster.lose((command.about[1], name))
        case ("host", "shutdown"):
            cluster.shut_down(name, ShutdownPolicy(command.about[1]))
        case ("heal",):
            cluster.heal()
        case ("corosync", "hang"):
            cluster.network.hang(name)
        case ("corosync", "resume"):
            cluster.network.resume(name)
        case ("api", how):
            cluster.servers[name].api_down = how == "down"
        case ("agent", "kill"):
            cluster.kill_agent(name)
        case ("agent", "crash"):
            process = cluster.servers[name].process
            if process is not None:
                process.crash_at(int(command.about[1]))
        case ("agent", "hang" | "resume" as how):
            process = cluster.servers[name].process
            if process is not None and not cluster.servers[name].frozen:
                process.hang(on=how == "hang")


def _database(cluster: SimCluster, command: Command) -> None:
    about, database = command.about, cluster.database
    match command.words[1]:
        case "down" | "up" as how:
            database.down = how == "down"
        case "lost":
            database.lost.add(about[0])
            database.look()
        case "back":
            database.lost.discard(about[0])
            database.look()
        case "stall":
            database.stall(int(about[0]))
        case "conflict":
            database.trouble[about[0]].conflicts = int(about[1])
        case "mute":
            database.trouble[about[0]].answers_lost = int(about[1])


def _fence(cluster: SimCluster, command: Command) -> None:
    name, fence = command.about[0], cluster.fence
    match command.words[1]:
        case "fails":
            fence.failures[name] = int(command.about[1])
        case "hangs":
            cluster.servers[name].fence_hangs, fence.failures[name] = True, -1
        case "lies":
            fence.lies.add(name)
        case "fakes":
            fence.lies.add(name)
            fence.false_readings[name] = int(command.about[1])
        case "works":
            cluster.servers[name].fence_hangs = False
            fence.failures.pop(name, None)
            fence.lies.discard(name)
            fence.false_readings.pop(name, None)


def _pool(cluster: SimCluster, command: Command) -> None:
    """How the fences of the pools treat that node from now on."""
    name = command.about[0]
    for fence in cluster.storage_fences.values():
        match command.words[1]:
            case "fails":
                fence.fails.add(name)
            case "hangs":
                fence.fails.add(name)
                fence.hangs.add(name)
            case "lies":
                fence.lies.add(name)
            case "mute":
                fence.mute.add(name)
            case "fakes":
                fence.lies.add(name)
                fence.false_readings[name] = int(command.about[1])
            case "works":
                fence.works(name)


def _heartbeat(cluster: SimCluster, command: Command) -> None:
    """Of the storage that carries it, as one node sees it."""
    name, beats = command.about[0], cluster.beats
    match command.words[1]:
        case "lost":
            beats.lost.add(name)
        case "slow":
            beats.slow[name] = float(command.about[1])
        case "stale":
            beats.stale.add(name)
        case "works":
            beats.lost.discard(name)
            beats.stale.discard(name)
            beats.slow.pop(name, None)


def _signals(cluster: SimCluster, command: Command) -> None:
    network = cluster.network
    match command.words[1]:
        case "lost":
            network.signal_loss = int(command.about[0]) / 100
        case "late":
            network.signal_late = float(command.about[0])
        case "work":
            network.signal_loss, network.signal_late = network.times.signal_loss, 0.0


def _host(cluster: SimCluster, command: Command) -> None:
    """What a node's own parts do."""
    server = cluster.servers[command.about[-1]]
    match command.words:
        case ("starts", how):
            server.hypervisor.refuse_all_starts = "the host is out of memory" if how == "fail" else ""
        case ("start", "fails"):
            server.hypervisor.refuse_starts[cluster.vm_id(command.about[0])] = "this host lacks a device it needs"
        case ("start", "works"):
            server.hypervisor.refuse_starts.pop(cluster.vm_id(command.about[0]), None)
        case ("package", how):
            server.refuses_upgrade = "E: Version '2' for 'holdfast' was not found" if how == "fails" else ""
        case ("reboot", how):
            server.stays_off = how == "fails"
        case ("storage", how):
            server.pool.gone = how == "lost"
        case ("libvirt", "down"):
            server.hypervisor.unavailable = True
        case ("libvirt", "up"):
            server.hypervisor.libvirt_returns()


def _guest(cluster: SimCluster, command: Command) -> None:
    vm_id = cluster.vm_id(command.about[0])
    for server in cluster.servers.values():
        if vm_id in server.hypervisor.copies() and not server.frozen:
            _GUEST[command.words[1]](server.hypervisor, vm_id)


_GUEST: dict[str, Callable[[SimHypervisor, int], None]] = {
    "dies": SimHypervisor.crash,
    "poweroff": SimHypervisor.guest_shuts_down,
    "panics": SimHypervisor.panic,
    "hangs": SimHypervisor.hang,
    "watchdog": SimHypervisor.watchdog_fires,
    "loses-disk": SimHypervisor.disk_is_lost,
}


def _disk(cluster: SimCluster, command: Command) -> None:
    vm_id = cluster.vm_id(command.about[0])
    for server in cluster.servers.values():
        if command.words[1] == "fails":
            server.hypervisor.disk_fails(vm_id)
        else:
            server.hypervisor.failing_disks.discard(vm_id)


def _customer(cluster: SimCluster, what: str, name: str) -> None:
    change: dict[str, Callable[[Vm], Vm]] = {
        "stop": lambda v: replace(v, desired=Desired.STOPPED, stop_mode=StopMode.HARD),
        "start": lambda v: replace(v, desired=Desired.RUNNING),
        "lock": lambda v: replace(v, locked=True),
        "unlock": lambda v: replace(v, locked=False),
        "delete": lambda v: replace(v, desired=Desired.DELETED),
    }

    def work(tx: Transaction) -> None:
        for vm in tx.vms.where(name=name):
            if vm.desired is not Desired.DELETED:
                tx.vms.save(change[what](vm))

    cluster.write(work)


_OPERATORS: dict[tuple[str, ...], Callable[[Transaction, SimCluster, str], object]] = {
    ("drain",): lambda tx, c, name: drain_node(tx, name, c.clock.utc()),
    ("return",): lambda tx, c, name: return_node(tx, name, c.clock.utc()),
    ("rolling", "reboot"): lambda tx, c, _: start_rolling(tx, (), c.clock.utc()),
    ("rolling", "upgrade"): lambda tx, c, version: start_upgrade(tx, version, (), c.clock.utc()),
    ("rolling", "stop"): lambda tx, c, _: stop_rolling(tx, c.clock.utc()),
    ("vm", "migrate"): lambda tx, c, name: request_migration(tx, c.vm_id(name), "", c.clock.utc()),
    ("vm", "cancel"): lambda tx, c, name: cancel_migration(tx, c.vm_id(name), c.clock.utc()),
    ("cluster", "disarm"): lambda tx, c, _: disarm_cluster(tx, "op", "work on the switches", c.clock.utc()),
    ("cluster", "arm"): lambda tx, c, _: arm_cluster(tx, "op", c.clock.utc()),
    ("cluster", "lift"): lambda tx, c, _: lift_storm_guard(tx, "op", 3600, c.clock.utc()),
    ("node", "confirm-dead"): lambda tx, c, name: confirm_dead(
        tx, name, "op", "I pulled its plug", frozenset(), c.clock.utc()
    ),
    ("node", "release"): lambda tx, c, name: release_node(tx, name, "op", c.clock.utc()),
}


def _operator(cluster: SimCluster, command: Command) -> None:
    """What an operator asks for; a refusal is told."""

    def work(tx: Transaction) -> None:
        _OPERATORS[command.words](tx, cluster, command.about[0] if command.about else "")

    try:
        cluster.write(work)
    except DomainError as refused:
        cluster.tell(">>", f"refused: {refused}")


def _migration(cluster: SimCluster, command: Command) -> None:
    """From now on, for migrations away from that node."""
    moves, how, node = cluster.moves, command.words[1], command.about[0]
    if how == "takes":
        moves.slow[node] = float(command.about[1])
        return
    if how == "works":
        moves.slow.pop(node, None)
    for kind, nodes in {"hangs": moves.hangs, "fails": moves.fails, "lies": moves.answer_lost}.items():
        if how in (kind, "works"):
            (nodes.discard if how == "works" else nodes.add)(node)


_KINDS: dict[str, Callable[[SimCluster, Command], None]] = {
    "database": _database, "fence": _fence, "pool": _pool, "signals": _signals, "guest": _guest, "disk": _disk,
    "heartbeat": _heartbeat,
    "starts": _host, "start": _host, "storage": _host, "libvirt": _host, "reboot": _host, "package": _host,
    "migration": _migration,
}  # fmt: skip
