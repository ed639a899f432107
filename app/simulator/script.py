"""The commands of a script: what happens to a cluster, and when. One line each: `12.5s  power off n3`."""

from dataclasses import dataclass, replace

from app.domain.errors import ScenarioError
from app.domain.host_shutdown import ShutdownPolicy
from app.simulator.layout import Layout, VmLayout

#: words -> what follows them: n a node, n+ nodes, v a VM, i a number, p a policy, w a new name. The order is that of
#: the help.
COMMANDS: dict[tuple[str, ...], str] = {
    ("power", "off"): "n", ("power", "on"): "n", ("freeze",): "n", ("thaw",): "n", ("slow",): "ni",
    ("cut",): "n+", ("apart",): "nn", ("deaf",): "nn", ("heal",): "",
    ("corosync", "hang"): "n", ("corosync", "resume"): "n",
    ("signals", "lost"): "i", ("signals", "late"): "i", ("signals", "work"): "",
    ("agent", "kill"): "n", ("agent", "crash"): "ni", ("agent", "hang"): "n", ("agent", "resume"): "n",
    ("upgrade",): "n", ("api", "down"): "n", ("api", "up"): "n",
    ("database", "lost"): "n", ("database", "back"): "n", ("database", "down"): "", ("database", "up"): "",
    ("database", "stall"): "i", ("database", "conflict"): "ni", ("database", "mute"): "ni",
    ("fence", "fails"): "ni", ("fence", "hangs"): "n", ("fence", "lies"): "n", ("fence", "works"): "n",
    ("starts", "fail"): "n", ("starts", "work"): "n", ("start", "fails"): "vn", ("start", "works"): "vn",
    ("storage", "lost"): "n", ("storage", "back"): "n", ("libvirt", "down"): "n", ("libvirt", "up"): "n",
    ("heartbeat", "lost"): "n", ("heartbeat", "slow"): "ni", ("heartbeat", "stale"): "n", ("heartbeat", "works"): "n",
    ("guest", "dies"): "v", ("guest", "poweroff"): "v", ("guest", "panics"): "v", ("guest", "hangs"): "v",
    ("guest", "watchdog"): "v", ("guest", "loses-disk"): "v", ("disk", "fails"): "v", ("disk", "works"): "v",
    ("vm", "stop"): "v", ("vm", "start"): "v", ("vm", "lock"): "v", ("vm", "unlock"): "v", ("vm", "delete"): "v",
    ("vm", "migrate"): "v", ("vm", "cancel"): "v", ("drain",): "n", ("return",): "n",
    ("host", "shutdown"): "np",
    ("migration", "hangs"): "n", ("migration", "fails"): "n", ("migration", "lies"): "n", ("migration", "works"): "n",
    ("migration", "takes"): "ni",
    ("vm", "create"): "wi", ("vm", "poweron"): "v", ("vm", "poweroff"): "v",
    ("cordon",): "n", ("uncordon",): "n", ("guarantee",): "i",
    ("fence", "fakes"): "ni", ("cluster", "disarm"): "", ("cluster", "arm"): "", ("cluster", "lift"): "",
    ("node", "confirm-dead"): "n", ("node", "release"): "n",
    ("rolling", "upgrade"): "i", ("package", "fails"): "n", ("package", "works"): "n",
    ("rolling", "reboot"): "", ("rolling", "stop"): "", ("reboot", "fails"): "n", ("reboot", "works"): "n",
    ("pool", "fails"): "n", ("pool", "hangs"): "n", ("pool", "lies"): "n", ("pool", "fakes"): "ni",
    ("pool", "works"): "n", ("pool", "mute"): "n",
    ("rest",): "", ("end",): "",
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
        if commands[-1].words == ("vm", "create"):
            name, memory = commands[-1].about
            layout = replace(layout, vms=(*layout.vms, VmLayout(name, int(memory))))
        if len(commands) > 1 and commands[-1].at < commands[-2].at:
            raise ScenarioError(f"{file}:{number}: {commands[-1].at:g}s is before the line above it; sort the lines")
    if not commands or commands[-1].words not in (("end",), ("rest",)):
        raise ScenarioError(
            f"{file}: the last line must be `SECONDSs end`, which says how long the story is, or `SECONDSs rest`, which"
            " ends it as soon as all is well, and is a violation when it is not by then"
        )
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
    names: dict[str, set[str]] = {
        "n": {n.name for n in layout.nodes}, "v": {v.name for v in layout.vms}, "p": {p.value for p in ShutdownPolicy},
    }  # fmt: skip
    kinds = {"n": "a node", "v": "a VM", "i": "a number", "p": "a policy", "w": "a new name"}
    expected = "n" * max(len(about), 1) if takes == "n+" else takes
    if len(about) != len(expected):
        after = " and ".join(kinds[k] for k in expected) or "nothing"
        raise ValueError(f"after `{' '.join(known)}` comes {after}, not {' '.join(about) or 'the end of the line'!r}")
    for kind, word in zip(expected, about, strict=True):
        if kind == "i" and not word.lstrip("-").isdigit():
            raise ValueError(f"{word!r} is no number")
        if kind == "w" and word in names["v"]:
            raise ValueError(f"there is a VM {word!r} already")
        if kind in names and word not in names[kind]:
            raise ValueError(f"there is no {kinds[kind].removeprefix('a ')} {word!r}; there are {sorted(names[kind])}")
