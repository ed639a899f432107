"""Random faults of clusters whose storage carries a heartbeat: the management network alone is lost, and what follows.

Each is drawn by dice of its own, so that the stories without a heartbeat stay as they are.
"""

from dataclasses import replace
from random import Random

from app.domain.cluster_settings import AfterKeep
from app.simulator.fault_mix import Commands, Moment
from app.simulator.layout import Layout
from app.simulator.script import Command

#: the share of the random clusters that have one
SHARE = 0.4


def with_heartbeat(seed: int, layout: Layout) -> Layout:
    """The same cluster, with a heartbeat over its storage if the seed says so."""
    random = Random(f"heartbeat {seed}")  # noqa: S311  a story must be repeatable
    if random.random() >= SHARE:
        return layout
    keep, then = random.choice((300.0, 300.0, 8.0, 8.0, 0.0)), random.choice(tuple(AfterKeep))
    return replace(layout, heartbeat=True, isolated_keep_seconds=keep, isolated_then=then)


def quiet(seed: int, layout: Layout) -> bool:
    """True for the half of these stories in which nothing else goes wrong: a lease, its end and the wait after it take
    longer than the others let a node be alone.
    """
    return layout.heartbeat and Random(f"heartbeat alone {seed}").random() < 0.5  # noqa: S311  repeatable


def heartbeat_faults(seed: int, names: list[str], begin: float, end: float) -> Commands:
    """What goes wrong on top of all the rest."""
    random = Random(f"heartbeat faults {seed}")  # noqa: S311  a story must be repeatable
    found: Commands = []
    for _ in range(random.randint(1, 3)):
        moment = Moment(random, random.uniform(begin, end), names, [])
        kinds = (_isolated, _isolated, _isolated, _storage, _both, _rivals, _rivals, _long_alone, _twice)
        found += random.choice(kinds)(moment)
    return found


def _isolated(m: Moment) -> Commands:
    """A node loses its management network; something else goes wrong beside it, there or where it is judged."""
    node, random = m.node, m.random
    back = m.at + random.choice((8.0, 25.0, 60.0)) * random.uniform(0.8, 1.2)
    found = _apart(m, node, back)
    if random.random() < 0.5:
        found += [m.now("fence", "fails", about=(node, "-1")), Command(back + 5, ("fence", "works"), (node,))]
    for _ in range(random.randint(0, 3)):
        found += _beside(m.after(random.uniform(0, back - m.at)), node)
    return found


def _apart(m: Moment, node: str, back: float) -> Commands:
    """Its network is cut, or its Corosync hangs, which no other fault's end ends."""
    if m.random.random() < 0.5:
        return [m.now("cut", about=(node,)), Command(back, ("heal",))]
    return [m.now("corosync", "hang", about=(node,)), Command(back, ("corosync", "resume"), (node,))]


def _beside(m: Moment, node: str) -> Commands:
    other = m.random.choice([n for n in m.nodes if n != node] or m.nodes)
    either = m.random.choice((node, other))
    end = m.sometime
    return m.random.choice(
        (
            _storage(m),
            [m.now("agent", "kill", about=(either,))],
            [m.now("agent", "crash", about=(either, str(m.random.randint(1, 80))))],
            [m.now("freeze", about=(either,)), Command(end, ("thaw",), (either,))],
            [m.now("libvirt", "down", about=(node,)), Command(end, ("libvirt", "up"), (node,))],
            [m.now("corosync", "hang", about=(either,)), Command(end, ("corosync", "resume"), (either,))],
            [m.now("signals", "lost", about=("100",)), Command(end, ("signals", "work"))],
            [m.now("power", "off", about=(either,)), Command(end, ("power", "on"), (either,))],
            [m.now("cluster", "disarm"), Command(end, ("cluster", "arm"))],
        )
    )


def _storage(m: Moment) -> Commands:
    """The storage that carries the heartbeat, as one node sees it."""
    node = m.node
    what = m.random.choice((("lost",), ("stale",), ("slow", "1"), ("slow", "8")))
    return [m.now("heartbeat", what[0], about=(node, *what[1:])), Command(m.sometime, ("heartbeat", "works"), (node,))]


def _rivals(m: Moment) -> Commands:
    """While a node is isolated the others do not hear who leads: a second one does, and loses the storage."""
    if len(m.nodes) < 3:
        return []
    node, *others = m.random.sample(m.nodes, 3)
    deaf = m.at + m.random.uniform(6, 12)
    leads = deaf + m.random.choice((3, 7)) + m.random.uniform(0.1, 1)
    heard = leads + m.random.uniform(0.5, 3)
    back = heard + m.random.uniform(10, 25)
    return [
        m.now("fence", "fails", about=(node, "-1")), Command(back + 5, ("fence", "works"), (node,)),
        *_apart(m, node, back), Command(deaf, ("signals", "lost"), ("100",)), Command(heard, ("signals", "work")),
        Command(leads, ("heartbeat", "lost"), (others[0],)), Command(back, ("heartbeat", "works"), (others[0],)),
    ]  # fmt: skip


def _long_alone(m: Moment) -> Commands:
    """A node is isolated for longer than it is kept, and only time can prove that it runs nothing."""
    node, back = m.node, m.at + m.random.uniform(40, 60)
    found = [m.now("fence", "fails", about=(node, "-1")), Command(back + 5, ("fence", "works"), (node,))]
    found += _apart(m, node, back)
    if m.random.random() < 0.5:
        found += [m.after(m.random.uniform(5, 20)).now("heartbeat", "lost", about=(node,))]
        found += [Command(back, ("heartbeat", "works"), (node,))]
    return found


def _twice(m: Moment) -> Commands:
    """A node is isolated, back for a moment, and isolated again, without its storage; its first lease would last."""
    node, heal = m.node, m.at + m.random.uniform(8, 15)
    again = heal + m.random.uniform(1.2, 4)
    back = again + m.random.uniform(10, 30)
    return [
        m.now("cut", about=(node,)), Command(heal, ("heal",)),
        Command(again, ("cut",), (node,)), Command(back, ("heal",)),
        Command(again, ("heartbeat", "lost"), (node,)), Command(back, ("heartbeat", "works"), (node,)),
    ]  # fmt: skip


def _both(m: Moment) -> Commands:
    """A node loses its management network and its storage, one a moment after the other."""
    node = m.node
    first = [m.now("cut", about=(node,)), Command(m.later, ("heal",))]
    then = m.after(m.random.uniform(0, 8))
    return [*first, then.now("storage", "lost", about=(node,)), Command(then.sometime, ("storage", "back"), (node,))]
