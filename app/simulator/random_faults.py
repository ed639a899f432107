"""Random failure stories: a seed makes a cluster and a script. At the end all faults end, and all must be well."""

from random import Random

from app.simulator.fault_mix import Moment, random_fault, rolling_reboot, rolling_upgrade, silent_agent, storage_fault
from app.simulator.heartbeat_faults import heartbeat_faults, quiet, with_heartbeat
from app.simulator.layout import Layout, NodeLayout, VmLayout
from app.simulator.script import Command

#: how long faults begin, when all of them have ended, and how long the cluster then has to come to rest (seconds)
FAULTS_SECONDS = 90.0
REPAIR_SECONDS = 120.0
SETTLE_SECONDS = 120.0
_BEGIN_SECONDS = 15.0
#: so many of the clusters have a pool that can cut a node off
STORAGE_SHARE = 0.25


def random_story(seed: int, nodes: int = 3, vms: int = 6) -> tuple[Layout, tuple[Command, ...]]:
    """The cluster and the script of that seed. Some clusters lack fence devices or watchdogs, some are small."""
    random = Random(f"story {seed}")  # noqa: S311  a story must be repeatable
    names = [f"n{i + 1}" for i in range(nodes)]
    small, drifting, upgrading = random.random() < 0.3, random.random() < 0.5, random.random() < 0.2
    layout = Layout(
        tuple(_node(random, name, small=small, drifting=drifting, upgrading=upgrading) for name in names),
        tuple(_vm(random, f"vm{i + 1}", names) for i in range(vms)),
        seed=seed,
        storage_fences=("pool",) if Random(f"storage {seed}").random() < STORAGE_SHARE else (),  # noqa: S311
    )
    layout = with_heartbeat(seed, layout)
    more = _rolling(seed, names) + _upgrade(seed, names) + _silent(seed, names)
    more += _storage(seed, names) if layout.storage_fences else []
    if layout.heartbeat:
        more += heartbeat_faults(seed, names, _BEGIN_SECONDS, FAULTS_SECONDS)
    faults = _faults(random, names, [v.name for v in layout.vms]) if not quiet(seed, layout) else []
    return layout, _script(names, faults + more)


def _node(random: Random, name: str, *, small: bool, drifting: bool, upgrading: bool) -> NodeLayout:
    fence = random.random() < 0.8
    watchdog = 10.0 if not fence or random.random() < 0.8 else None
    return NodeLayout(
        name,
        memory_mib=1024 if small else 4096,
        watchdog_seconds=watchdog,
        fence=fence,
        clock_ahead_seconds=round(random.uniform(-60, 60), 1) if drifting else 0.0,
        clock_drift_ppm=round(random.uniform(-500, 500)) if drifting else 0.0,
        outdated=upgrading and random.random() < 0.5,
    )


def _vm(random: Random, name: str, names: list[str]) -> VmLayout:
    node = random.choice(names) if random.random() < 0.5 else ""
    return VmLayout(name, random.choice((256, 512)), node, random.choice((10, 50, 90)), random.random() < 0.9)


def _faults(random: Random, names: list[str], vms: list[str]) -> list[Command]:
    commands: list[Command] = []
    now = _BEGIN_SECONDS
    while now < FAULTS_SECONDS:
        commands += random_fault(Moment(random, now, names, vms))
        now += random.choice((0.3, 1.0, 4.0, 12.0)) * random.uniform(0.5, 1.5)
    return commands


def _script(names: list[str], commands: list[Command]) -> tuple[Command, ...]:
    commands = [c for c in commands if c.at < REPAIR_SECONDS]
    commands += all_well(REPAIR_SECONDS, names, commands)
    commands.append(Command(REPAIR_SECONDS + SETTLE_SECONDS, ("rest",)))
    return tuple(sorted((_rounded(c) for c in commands), key=lambda c: c.at))


def _rolling(seed: int, names: list[str]) -> list[Command]:
    """A rolling reboot below all the rest, in one story of six; by dice of its own, so that the others stay as they
    are."""
    random = Random(f"rolling {seed}")  # noqa: S311  a story must be repeatable
    if random.random() >= 1 / 6:
        return []
    return rolling_reboot(Moment(random, random.uniform(_BEGIN_SECONDS, FAULTS_SECONDS), names, []))


def _upgrade(seed: int, names: list[str]) -> list[Command]:
    """A rolling upgrade, in one story of eight."""
    random = Random(f"rolling upgrade {seed}")  # noqa: S311
    if random.random() >= 1 / 8:
        return []
    return rolling_upgrade(Moment(random, random.uniform(_BEGIN_SECONDS, FAULTS_SECONDS), names, []))


def _silent(seed: int, names: list[str]) -> list[Command]:
    """An agent that hangs for longer than the soft fence waits, in one story of six."""
    random = Random(f"silent agent {seed}")  # noqa: S311
    if random.random() >= 1 / 6:
        return []
    return silent_agent(Moment(random, random.uniform(_BEGIN_SECONDS, FAULTS_SECONDS), names, []))


def _storage(seed: int, names: list[str]) -> list[Command]:
    """What goes wrong with the pools' fence, and nodes whose power cannot be cut, so that it has something to do."""
    random = Random(f"storage faults {seed}")  # noqa: S311
    found = []
    for _ in range(random.randint(1, 3)):
        moment = Moment(random, random.uniform(_BEGIN_SECONDS, FAULTS_SECONDS), names, [])
        found += storage_fault(moment)
    return found


def _rounded(command: Command) -> Command:
    return Command(round(command.at, 1), command.words, command.about)


def all_well(at: float, names: list[str], commands: list[Command]) -> list[Command]:
    """What ends every fault that these commands can have begun."""
    everywhere = [Command(at, ("heal",)), Command(at, ("signals", "work")), Command(at, ("database", "up"))]
    everywhere += [Command(at, ("rolling", "stop")), Command(at, ("cluster", "arm"))]
    for name in names:
        repairs: tuple[tuple[str, ...], ...] = (
            ("upgrade",), ("thaw",), ("corosync", "resume"), ("agent", "resume"), ("fence", "works"),
            ("starts", "work"), ("libvirt", "up"), ("storage", "back"), ("database", "back"), ("power", "on"),
            ("migration", "works"), ("reboot", "works"), ("return",), ("pool", "works"), ("api", "up"),
            ("heartbeat", "works"), ("package", "works"),
        )  # fmt: skip
        everywhere += [Command(at, words, (name,)) for words in repairs]
        everywhere += [Command(at, ("database", how), (name, "0")) for how in ("mute", "conflict")]
        everywhere.append(Command(at, ("slow",), (name, "1")))
        # A watchdog may still cut a node after that: somebody goes and presses the button again.
        everywhere += [Command(at + pause, ("power", "on"), (name,)) for pause in (20, 40)]
    refused = dict.fromkeys(c.about for c in commands if c.words == ("start", "fails"))
    return everywhere + [Command(at, ("start", "works"), pair) for pair in refused]
