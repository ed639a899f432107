"""The default fault mix: each kind of fault makes the commands that begin and end it, at times drawn at random."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from app.domain.host_shutdown import ShutdownPolicy
from app.simulator.script import Command

Commands = list[Command]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a fault begins, what there is, and the dice."""

    random: Random
    at: float
    nodes: list[str]
    vms: list[str]

    @property
    def node(self) -> str:
        """Any node, anew each time."""
        return self.random.choice(self.nodes)

    @property
    def soon(self) -> float:
        """A time within what others hardly notice."""
        return self.at + self.random.uniform(0.5, 6.0)

    @property
    def later(self) -> float:
        """A time by which others will have acted."""
        return self.at + self.random.uniform(6.0, 30.0)

    @property
    def sometime(self) -> float:
        """The one or the other."""
        return self.random.choice((self.soon, self.later))

    def now(self, *words: str, about: tuple[str, ...] = ()) -> Command:
        """What happens at once."""
        return Command(self.at, words, about)

    def after(self, seconds: float) -> "Moment":
        """The same world a while later."""
        return Moment(self.random, self.at + seconds, self.nodes, self.vms)


def _power(m: Moment) -> Commands:
    node = m.node
    return [m.now("power", "off", about=(node,)), Command(m.later, ("power", "on"), (node,))]


def _blackout(m: Moment) -> Commands:
    """The whole cluster loses power; what comes back does so in any order, and one node perhaps much later."""
    off = [m.now("power", "off", about=(node,)) for node in m.nodes]
    return off + [Command(m.later, ("power", "on"), (node,)) for node in m.nodes]


def _freeze(m: Moment) -> Commands:
    node = m.node
    return [m.now("freeze", about=(node,)), Command(m.sometime, ("thaw",), (node,))]


def _slow(m: Moment) -> Commands:
    node, times = m.node, m.random.choice(("3", "10", "30"))
    return [m.now("slow", about=(node, times)), Command(m.later, ("slow",), (node, "1"))]


def _cut(m: Moment) -> Commands:
    apart = tuple(sorted(m.random.sample(m.nodes, m.random.randint(1, max(1, len(m.nodes) // 2)))))
    return [m.now("cut", about=apart), Command(m.sometime, ("heal",))]


def _flap(m: Moment) -> Commands:
    """A link that comes and goes."""
    node, found, at = m.node, [], m.at
    for _ in range(m.random.randint(2, 5)):
        found.append(Command(at, ("cut",), (node,)))
        found.append(Command(at + m.random.uniform(0.5, 6.0), ("heal",)))
        at = found[-1].at + m.random.uniform(0.3, 4.0)
    return found


def _link(m: Moment) -> Commands:
    """One pair does not reach each other, in one direction or both; everybody else does."""
    if len(m.nodes) < 2:
        return []
    pair = tuple(m.random.sample(m.nodes, 2))
    return [m.now(m.random.choice(("apart", "deaf")), about=pair), Command(m.sometime, ("heal",))]


def _corosync(m: Moment) -> Commands:
    node = m.node
    return [m.now("corosync", "hang", about=(node,)), Command(m.sometime, ("corosync", "resume"), (node,))]


def _signals(m: Moment) -> Commands:
    how = m.random.choice((("lost", "30"), ("lost", "100"), ("late", "1"), ("late", "2")))
    return [m.now("signals", how[0], about=(how[1],)), Command(m.later, ("signals", "work"))]


def _crash(m: Moment) -> Commands:
    return [m.now("agent", "crash", about=(m.node, str(m.random.randint(1, 80))))]


def _kill(m: Moment) -> Commands:
    return [m.now("agent", "kill", about=(m.node,))]


def _hang(m: Moment) -> Commands:
    node = m.node
    return [m.now("agent", "hang", about=(node,)), Command(m.soon, ("agent", "resume"), (node,))]


def _member(m: Moment) -> Commands:
    """One member of the database, or several."""
    found: Commands = []
    for node in m.random.sample(m.nodes, m.random.choice((1, 1, min(2, len(m.nodes))))):
        found += [m.now("database", "lost", about=(node,)), Command(m.sometime, ("database", "back"), (node,))]
    return found


def _database(m: Moment) -> Commands:
    node, count = m.node, str(m.random.randint(1, 4))
    return m.random.choice(
        (
            [m.now("database", "down"), Command(m.soon, ("database", "up"))],
            [m.now("database", "stall", about=(count,))],
            [m.now("database", "mute", about=(node, count))],
            [m.now("database", "conflict", about=(node, count))],
        )
    )


def _fence(m: Moment) -> Commands:
    node = m.node
    how, more = m.random.choice((("fails", ("1",)), ("fails", ("3",)), ("fails", ("-1",)), ("hangs", ()), ("lies", ())))
    return [m.now("fence", how, about=(node, *more)), Command(m.later, ("fence", "works"), (node,))]


def _starts(m: Moment) -> Commands:
    node = m.node
    return [m.now("starts", "fail", about=(node,)), Command(m.sometime, ("starts", "work"), (node,))]


def _start(m: Moment) -> Commands:
    if not m.vms:
        return []
    pair = (m.random.choice(m.vms), m.node)
    return [m.now("start", "fails", about=pair), Command(m.later, ("start", "works"), pair)]


def _storage(m: Moment) -> Commands:
    node = m.node
    return [m.now("storage", "lost", about=(node,)), Command(m.sometime, ("storage", "back"), (node,))]


def _libvirt(m: Moment) -> Commands:
    node = m.node
    return [m.now("libvirt", "down", about=(node,)), Command(m.sometime, ("libvirt", "up"), (node,))]


def _customer(m: Moment) -> Commands:
    what = ("vm", m.random.choice(("stop", "start", "lock", "unlock", "delete")))
    return [m.now(*what, about=(m.random.choice(m.vms),))] if m.vms else []


def _guest(m: Moment) -> Commands:
    what = ("guest", m.random.choice(("dies", "dies", "poweroff", "loses-disk")))
    return [m.now(*what, about=(m.random.choice(m.vms),))] if m.vms else []


def _drain(m: Moment) -> Commands:
    node = m.node
    return [m.now("drain", about=(node,)), Command(m.later, ("return",), (node,))]


def rolling_reboot(m: Moment) -> Commands:
    """An operator reboots all nodes, and thinks better of it; one of them perhaps does not come up."""
    found = [m.now("rolling", "reboot"), Command(m.later + 20, ("rolling", "stop"))]
    if m.random.random() < 0.3:
        node = m.node
        found += [m.now("reboot", "fails", about=(node,)), Command(m.later + 30, ("reboot", "works"), (node,))]
    return found


def rolling_upgrade(m: Moment) -> Commands:
    """An operator upgrades all nodes, perhaps says it again, or thinks better of it; one of them perhaps cannot."""
    found = [m.now("rolling", "upgrade", about=("2",))]
    if m.random.random() < 0.5:
        words, about = m.random.choice(((("rolling", "stop"), ()), (("rolling", "upgrade"), ("2",))))
        found.append(Command(m.later + 20, words, about))
    if m.random.random() < 0.3:
        node = m.node
        found += [m.now("package", "fails", about=(node,)), Command(m.later + 30, ("package", "works"), (node,))]
    return found


def storage_fault(m: Moment) -> Commands:
    """A node whose power cannot be cut is lost in some way; the pools' fence works, or not."""
    node, back = m.node, m.later
    wrong = m.random.choice(((), (), ("fails",), ("hangs",), ("lies",), ("mute",)))
    gone, here = m.random.choice(((("cut",), ("heal",)), (("freeze",), ("thaw",)), (("power", "off"), ("power", "on"))))
    found = [m.now("fence", "fails", about=(node, "-1")), Command(back + 5, ("fence", "works"), (node,))]
    if wrong:
        found += [m.now("pool", *wrong, about=(node,)), Command(m.sometime, ("pool", "works"), (node,))]
    found += [m.now(*gone, about=(node,)), Command(back, here, () if here == ("heal",) else (node,))]
    return found


def silent_agent(m: Moment) -> Commands:
    """An agent hangs for long; the API that could end it is there, or not, and the node may be cut off meanwhile."""
    node, back = m.node, m.at + m.random.uniform(10, 50)
    found = [m.now("agent", "hang", about=(node,)), Command(back, ("agent", "resume"), (node,))]
    if m.random.random() < 0.5:
        found += [m.now("api", "down", about=(node,)), Command(back, ("api", "up"), (node,))]
    if m.random.random() < 0.3:
        found += [Command(m.sometime, ("cut",), (node,)), Command(back + 5, ("heal",))]
    return found


def _migrate(m: Moment) -> Commands:
    if not m.vms:
        return []
    vm, again = m.random.choice(m.vms), m.random.choice(("migrate", "cancel"))
    return [m.now("vm", "migrate", about=(vm,)), Command(m.soon, ("vm", again), (vm,))]


def _migration(m: Moment) -> Commands:
    """Away from a node: it hangs, or fails, or its end is not heard; or there is much memory, or little network."""
    node, how = m.node, m.random.choice((("hangs",), ("fails",), ("lies",), ("takes", "30"), ("takes", "200")))
    return [m.now("migration", how[0], about=(node, *how[1:])), Command(m.later, ("migration", "works"), (node,))]


def _shutdown(m: Moment) -> Commands:
    node, policy = m.node, m.random.choice(tuple(ShutdownPolicy))
    return [m.now("host", "shutdown", about=(node, policy.value)), Command(m.later, ("power", "on"), (node,))]


def _upgrade(m: Moment) -> Commands:
    return [m.now("upgrade", about=(m.node,))]


def _burst(m: Moment) -> Commands:
    """A second and a third failure in the middle of the recovery from the first."""
    found = _BIG[m.random.randrange(len(_BIG))](m)
    for _ in range(m.random.randint(1, 2)):
        m = m.after(m.random.uniform(0.1, 8.0))
        found += _BIG[m.random.randrange(len(_BIG))](m)
    return found


def _helpless(m: Moment) -> Commands:
    """A node is cut off, its fence device is dead, and it cannot help itself as it should."""
    node, random = m.node, m.random
    wrong, right = random.choice(
        (
            (("libvirt", "down"), ("libvirt", "up")), (("freeze",), ("thaw",)),
            (("corosync", "hang"), ("corosync", "resume")), (("agent", "hang"), ("agent", "resume")),
        )
    )  # fmt: skip
    apart, back = m.at + random.uniform(0, 3), m.at + random.uniform(8, 40)
    found = [m.now("fence", "fails", about=(node, "-1")), Command(back + 5, ("fence", "works"), (node,))]
    found += [m.after(random.uniform(0, 6)).now(*wrong, about=(node,)), Command(back, right, (node,))]
    found += [Command(apart, ("cut",), (node,)), Command(back, ("heal",))]
    if random.random() < 0.5:
        found.append(Command(apart + random.uniform(2, 13), ("agent", "kill"), (node,)))
    return found


def _rivals(m: Moment) -> Commands:
    """A node is off and cannot be fenced; another freezes while it waits for the proof, and the first comes back."""
    if len(m.nodes) < 2:
        return []
    lost, frozen = m.random.sample(m.nodes, 2)
    freeze, back = m.at + m.random.uniform(3, 8), m.at + m.random.uniform(4, 10)
    return [
        m.now("fence", "fails", about=(lost, "-1")), Command(back + 30, ("fence", "works"), (lost,)),
        m.now("power", "off", about=(lost,)), Command(back, ("power", "on"), (lost,)),
        Command(freeze, ("freeze",), (frozen,)), Command(freeze + m.random.uniform(3, 30), ("thaw",), (frozen,)),
    ]  # fmt: skip


_BIG: tuple[Callable[[Moment], Commands], ...] = (_power, _power, _cut, _freeze, _kill, _crash, _member)

#: kind of fault -> how often it is drawn
WEIGHTS: dict[Callable[[Moment], Commands], int] = {
    _power: 3, _blackout: 1, _freeze: 3, _slow: 2, _cut: 4, _flap: 2, _link: 2, _corosync: 2, _signals: 2,
    _crash: 4, _kill: 2, _hang: 2, _member: 2, _database: 4, _fence: 4, _starts: 2, _start: 2, _storage: 1,
    _libvirt: 2, _customer: 4, _guest: 2, _drain: 4, _migrate: 4, _migration: 2, _shutdown: 2, _upgrade: 1,
    _burst: 4,    _helpless: 3, _rivals: 2,
}  # fmt: skip


def random_fault(m: Moment) -> Commands:
    """One fault of the mix."""
    kind = m.random.choices(tuple(WEIGHTS), tuple(WEIGHTS.values()))[0]
    return kind(m)
