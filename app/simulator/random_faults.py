"""Random failure stories: a seed makes a cluster and a script. At the end all faults end, and all must be well."""

from dataclasses import replace
from random import Random

from app.simulator.layout import Layout, NodeLayout, VmLayout
from app.simulator.script import Command

#: how long faults go on, and how long the cluster then has to come to rest (seconds)
FAULTS_SECONDS = 90.0
SETTLE_SECONDS = 120.0
_BEGIN_SECONDS = 15.0


def random_story(seed: int, nodes: int = 3, vms: int = 6) -> tuple[Layout, tuple[Command, ...]]:
    """The cluster and the script of that seed. Some clusters lack fence devices or watchdogs, some are small."""
    random = Random(f"story {seed}")  # noqa: S311  a story must be repeatable
    names = [f"n{i + 1}" for i in range(nodes)]
    small = random.random() < 0.3
    layout = Layout(
        tuple(_node(random, name, small=small) for name in names),
        tuple(_vm(random, f"vm{i + 1}", names) for i in range(vms)),
        seed=seed,
    )
    return layout, _script(random, names, [v.name for v in layout.vms])


def _node(random: Random, name: str, *, small: bool) -> NodeLayout:
    fence = random.random() < 0.8
    watchdog = 10.0 if not fence or random.random() < 0.8 else None
    return NodeLayout(name, memory_mib=1536 if small else 4096, watchdog_seconds=watchdog, fence=fence)


def _vm(random: Random, name: str, names: list[str]) -> VmLayout:
    node = random.choice(names) if random.random() < 0.5 else ""
    return VmLayout(name, random.choice((256, 512)), node, random.choice((10, 50, 90)), random.random() < 0.9)


def _script(random: Random, names: list[str], vms: list[str]) -> tuple[Command, ...]:
    commands: list[Command] = []
    now = _BEGIN_SECONDS
    while now < FAULTS_SECONDS:
        commands += _fault(random, now, names, vms)
        now += random.choice((0.3, 1.0, 4.0, 12.0)) * random.uniform(0.5, 1.5)
    commands += _all_well(names)
    commands.append(Command(FAULTS_SECONDS + 30 + SETTLE_SECONDS, ("end",)))
    # Rounded as a script shows them, so that the printed script replays the same story.
    return tuple(sorted((replace(c, at=round(c.at, 1)) for c in commands), key=lambda c: c.at))


def _fault(random: Random, at: float, names: list[str], vms: list[str]) -> list[Command]:
    """Something goes wrong, and most often is repaired after a while."""
    node, vm = random.choice(names), random.choice(vms)
    soon, later = at + random.uniform(0.2, 8.0), at + random.uniform(3.0, 30.0)
    pairs = {
        "power": (("power", "off"), ("power", "on")),
        "freeze": (("freeze",), ("thaw",)),
        "hang": (("agent", "hang"), ("agent", "resume")),
        "corosync": (("corosync", "hang"), ("corosync", "resume")),
        "database": (("database", "lost"), ("database", "back")),
        "starts": (("starts", "fail"), ("starts", "work")),
        "libvirt": (("libvirt", "down"), ("libvirt", "up")),
    }
    kind = random.choice((*pairs, "power", "freeze", "cut", "cut", "kill", "down", "fence", "fence", "vm", "vm"))
    if kind in pairs:
        wrong, right = pairs[kind]
        end = soon if kind in ("database", "hang") or random.random() < 0.5 else later
        return [Command(at, wrong, (node,)), Command(end, right, (node,))]
    if kind == "cut":
        apart = tuple(sorted(random.sample(names, random.randint(1, max(1, len(names) // 2)))))
        return [Command(at, ("cut",), apart), Command(random.choice((soon, later)), ("heal",))]
    if kind == "down":
        return [Command(at, ("database", "down")), Command(soon, ("database", "up"))]
    if kind == "kill":
        return [Command(at, ("agent", "kill"), (node,))]
    if kind == "fence":
        how, more = random.choice((("fails", ("1",)), ("fails", ("3",)), ("hangs", ()), ("lies", ())))
        return [Command(at, ("fence", how), (node, *more)), Command(later, ("fence", "works"), (node,))]
    what = random.choice(("stop", "start", "lock", "unlock", "delete"))
    return [Command(at, ("vm", what), (vm,))]


def _all_well(names: list[str]) -> list[Command]:
    at = FAULTS_SECONDS + 30
    everywhere = [Command(at, ("heal",)), Command(at, ("database", "up"))]
    for name in names:
        repairs: tuple[tuple[str, ...], ...] = (
            ("thaw",), ("corosync", "resume"), ("agent", "resume"), ("fence", "works"), ("starts", "work"),
            ("libvirt", "up"), ("database", "back"), ("power", "on"),
        )  # fmt: skip
        everywhere += [Command(at, words, (name,)) for words in repairs]
        # A watchdog may still cut a node after that: somebody goes and presses the button again.
        everywhere += [Command(at + pause, ("power", "on"), (name,)) for pause in (20, 40)]
    return everywhere
