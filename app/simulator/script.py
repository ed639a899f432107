"""The commands of a script: what happens to a cluster, and when. One line each: `12.5s  power off n3`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from app.domain.errors import ScenarioError
from app.domain.vm import Desired, StopMode, Vm
from app.ports.store import Transaction
from app.simulator.cluster import SimCluster
from app.simulator.layout import Layout

#: words -> what follows them: n a node, n+ nodes, v a VM, i a number. The order is that of the help.
COMMANDS: dict[tuple[str, ...], str] = {
    ("power", "off"): "n", ("power", "on"): "n", ("freeze",): "n", ("thaw",): "n", ("cut",): "n+", ("heal",): "",
    ("corosync", "hang"): "n", ("corosync", "resume"): "n",
    ("agent", "kill"): "n", ("agent", "hang"): "n", ("agent", "resume"): "n",
    ("database", "lost"): "n", ("database", "back"): "n", ("database", "down"): "", ("database", "up"): "",
    ("fence", "fails"): "ni", ("fence", "hangs"): "n", ("fence", "lies"): "n", ("fence", "works"): "n",
    ("starts", "fail"): "n", ("starts", "work"): "n", ("libvirt", "down"): "n", ("libvirt", "up"): "n",
    ("vm", "stop"): "v", ("vm", "start"): "v", ("vm", "lock"): "v", ("vm", "unlock"): "v", ("vm", "delete"): "v",
    ("end",): "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Command:
    """One line of a script: seconds since the start, the words, and what they are about."""

    at: float
    words: tuple[str, ...]
    about: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((*self.words, *self.about))

    def line(self) -> str:
        """As it stands in a file."""
        return f"{self.at:.1f}s  {self}"


def parse_script(text: str, layout: Layout, file: str) -> tuple[Command, ...]:
    """All lines of a script; `#` begins a comment. ScenarioError names file and line."""
    commands: list[Command] = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#", maxsplit=1)[0].split()
        if not words:
            continue
        try:
            commands.append(_command(words, layout))
        except ValueError as error:
            raise ScenarioError(f"{file}:{number}: {error}") from error
        if len(commands) > 1 and commands[-1].at < commands[-2].at:
            raise ScenarioError(f"{file}:{number}: {commands[-1].at:g}s is before the line above it; sort the lines")
    if not commands or commands[-1].words != ("end",):
        raise ScenarioError(f"{file}: the last line must be `SECONDSs end`, which says how long the story is")
    return tuple(commands)


def _command(words: list[str], layout: Layout) -> Command:
    time, *rest = words
    try:
        at = float(time.removesuffix("s"))
    except ValueError:
        raise ValueError(f"{time!r} is no time; a line begins with seconds since the start, like 12.5s") from None
    if not time.endswith("s") or not 0 <= at < 1e6:
        raise ValueError(f"{time!r} is no time; a line begins with seconds since the start, like 12.5s")
    for known, takes in COMMANDS.items():
        if tuple(rest[: len(known)]) == known:
            about = tuple(rest[len(known) :])
            _check(known, takes, about, layout)
            return Command(at, known, about)
    raise ValueError(f"{' '.join(rest)!r} is no command; there are: {', '.join(' '.join(c) for c in COMMANDS)}")


def _check(known: tuple[str, ...], takes: str, about: tuple[str, ...], layout: Layout) -> None:
    names = {"n": {n.name for n in layout.nodes}, "v": {v.name for v in layout.vms}}
    kinds = {"n": "a node", "v": "a VM", "i": "a number"}
    expected = "n" * max(len(about), 1) if takes == "n+" else takes
    if len(about) != len(expected):
        after = " and ".join(kinds[k] for k in expected) or "nothing"
        raise ValueError(f"after `{' '.join(known)}` comes {after}, not {' '.join(about) or 'the end of the line'!r}")
    for kind, word in zip(expected, about, strict=True):
        if kind == "i" and not word.lstrip("-").isdigit():
            raise ValueError(f"{word!r} is no number")
        if kind in names and word not in names[kind]:
            raise ValueError(f"there is no {kinds[kind].removeprefix('a ')} {word!r}; there are {sorted(names[kind])}")


def perform(cluster: SimCluster, command: Command) -> None:
    """Let it happen now."""
    cluster.tell(">>", str(command))
    about = command.about
    if command.words[0] == "vm":
        _customer(cluster, command.words[1], about[0])
    elif command.words[0] in ("database", "fence", "starts", "libvirt"):
        _part(cluster, command)
    elif command.words[0] != "end":
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
        case ("cut",):
            cluster.cut(frozenset(command.about))
        case ("heal",):
            cluster.heal()
        case ("corosync", "hang"):
            cluster.network.hang(name)
        case ("corosync", "resume"):
            cluster.network.resume(name)
        case ("agent", "kill"):
            cluster.kill_agent(name)
        case ("agent", "hang" | "resume" as how):
            process = cluster.servers[name].process
            if process is not None and not cluster.servers[name].frozen:
                process.hang(on=how == "hang")


def _part(cluster: SimCluster, command: Command) -> None:
    name = command.about[0] if command.about else ""
    fence, database = cluster.fence, cluster.database
    match command.words:
        case ("database", "down" | "up" as how):
            database.down = how == "down"
        case ("database", "lost"):
            database.lost.add(name)
            database.look()
        case ("database", "back"):
            database.lost.discard(name)
            database.look()
        case ("fence", "fails"):
            fence.failures[name] = int(command.about[1])
        case ("fence", "hangs"):
            cluster.servers[name].fence_hangs, fence.failures[name] = True, -1
        case ("fence", "lies"):
            fence.lies.add(name)
        case ("fence", "works"):
            cluster.servers[name].fence_hangs = False
            fence.failures.pop(name, None)
            fence.lies.discard(name)
        case ("starts", how):
            cluster.servers[name].hypervisor.refuse_all_starts = "the host is out of memory" if how == "fail" else ""
        case ("libvirt", "down"):
            cluster.servers[name].hypervisor.unavailable = True
        case ("libvirt", "up"):
            cluster.servers[name].hypervisor.libvirt_returns()


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
