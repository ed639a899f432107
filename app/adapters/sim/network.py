"""Corosync in virtual time: rings, quorum, the agents' group and signals, over links that can be cut.

The model, after Corosync's totem protocol:

* A *ring* is a set of nodes that agreed on each other. It is broken for a member when any member of it is off, frozen,
  unreachable, or has gone on to another ring. Short of the token timeout nothing is noticed, and a ring that heals in
  time was never broken.
* Whoever notices first forms a new ring with all that it can reach, those too that had not noticed yet.
* Rings that can reach each other merge after a moment. A node that merges without having noticed anything hears
  of no loss of quorum; it hears that the others' agents left and came.
* A link that loses packets one way counts as lost: kronosnet needs a pong for its ping, TCP an acknowledgement. Where
  links are lost between some pairs only, whoever forms a ring takes those that all reach each other. Those left out
  try again and again, so such rings come and go, as real ones do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from app.adapters.sim.clock import SimClock
from app.domain.events import GroupChanged, MembershipChanged, SignalReceived
from app.ports.membership import MembershipEvent

Sink = Callable[[MembershipEvent], None]


@dataclass(frozen=True, slots=True)
class NetworkTimes:
    """In seconds. `detect` plus or minus `jitter` after a loss it is noticed; twice `jitter` is below the skew."""

    detect: float = 3.6
    jitter: float = 0.8
    merge: float = 1.0
    group: float = 0.05
    signal_loss: float = 0.02


@dataclass
class _Station:
    """One node's corosync. `hung`: it alone stands still. `agent`: the agent process in the group, 0: none."""

    name: str
    up: bool = False
    frozen: bool = False
    hung: bool = False
    ring: int = 0
    ring_members: frozenset[str] = frozenset()
    #: the timer that counts, 0 for none: one that was started for an earlier loss says nothing about this one
    timer: int = 0
    sink: Sink | None = None
    agent: int = 0
    group: Mapping[str, int] = field(default_factory=dict)
    quiet_until: float = 0.0
    held: list[MembershipEvent] = field(default_factory=list)


class SimNetwork:
    """All nodes' corosyncs. `on_ring(members, quorate)` tells of each new ring, once."""

    def __init__(
        self,
        clock: SimClock,
        random: Random,
        names: tuple[str, ...],
        times: NetworkTimes | None = None,
        on_ring: Callable[[frozenset[str], bool], None] = lambda _members, _quorate: None,
    ) -> None:
        self._clock, self._random, self._on_ring = clock, random, on_ring
        self.times = times or NetworkTimes()
        self._stations = {n: _Station(n) for n in names}
        self._side = dict.fromkeys(names, 0)
        self._lost: set[tuple[str, str]] = set()
        #: share of the signals to others that is lost, and by how many seconds at most one comes late
        self.signal_loss, self.signal_late = self.times.signal_loss, 0.0
        #: node -> how many times slower than usual it hears what Corosync has to say
        self.slow: dict[str, float] = {}
        #: (node, kind): its API hears a signal that is about that node
        self.on_api: Callable[[str, str], None] = lambda _node, _kind: None
        #: dice of its own, so that signs of life move no other
        self._dice = Random("signs of life")  # noqa: S311
        self._rings = 0
        self._timers = 0
        self._processes = 0

    # -- what happens to it

    def power(self, name: str, *, on: bool) -> None:
        """The node's corosync starts or is gone, and with it its agent's connection."""
        old = self._stations[name]
        self._stations[name] = _Station(name, up=on, sink=old.sink if on else None)
        self._look()

    def freeze(self, name: str) -> None:
        """Not a packet more until `thaw`; what arrives meanwhile is lost."""
        self._stations[name].frozen = True
        self._look()

    def thaw(self, name: str) -> None:
        """It goes on, in the belief that its ring still stands. Corosync finds out within moments."""
        self._stations[name].frozen = False
        self._go_on(self._stations[name])

    def hang(self, name: str) -> None:
        """Its corosync stands still; the rest of the node goes on, and hears nothing of it."""
        self._stations[name].hung = True
        self._look()

    def resume(self, name: str) -> None:
        """The end of `hang`."""
        if self._stations[name].hung:
            self._stations[name].hung = False
            self._go_on(self._stations[name])

    def _go_on(self, station: _Station) -> None:
        if station.frozen or station.hung:
            return
        held, station.held = station.held, []
        for event in held:
            self._tell(station, event)
        if station.up and self._broken(station):
            self._start_timer(station, self._random.uniform(0.05, 1.0))
        self._look()

    def cut(self, group: frozenset[str]) -> None:
        """These see each other and nobody else; who was apart before stays apart."""
        fresh = max(self._side.values()) + 1
        sides: dict[int, int] = {}
        for name in sorted(group):
            self._side[name] = sides.setdefault(self._side[name], fresh + len(sides))
        self._look()

    def lose(self, sender: str, receiver: str) -> None:
        """Packets from the one to the other are lost; all other links are as they were."""
        self._lost.add((sender, receiver))
        self._look()

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self._side = dict.fromkeys(self._side, 0)
        self._lost.clear()
        self._look()

    # -- the port

    def join(self, name: str, sink: Sink) -> None:
        """An agent process connects: it hears of the ring at once, and joins the group a moment later."""
        station = self._stations[name]
        self._processes += 1
        station.sink, station.agent = sink, self._processes
        station.group = {}
        quorate = self._quorate(station.ring_members)
        self._later(station, MembershipChanged(station.ring_members, quorate))
        self._clock.after(self.times.group, lambda: self._group(station.ring))

    def leave(self, name: str) -> None:
        """The agent process is gone; the others hear of it."""
        station = self._stations[name]
        station.sink, station.agent, station.group = None, 0, {}
        ring = station.ring
        self._clock.after(self.times.group, lambda: self._group(ring))

    def send(self, sender: str, kind: str, vm_id: int | None, epoch: int, node: str = "") -> None:
        """To all of the ring, the sender too. A few are lost on the way, never the sender's own."""
        station = self._stations[sender]
        if node:
            self._tell_api(sender, kind, node)
        for other in self._stations.values():
            if kind == "here" and self._broken(station):
                continue  # nothing goes round a broken ring
            if kind == "here" and other is not station:
                self._here(station, other, epoch)
                continue
            lost = other is not station and self._random.random() < self.signal_loss
            if other.ring == station.ring and self._hears(sender, other.name) and not lost:
                late = self._random.uniform(0, self.signal_late) if self.signal_late else 0.0
                self._later(other, SignalReceived(sender, kind, vm_id, epoch, node), late)

    def _here(self, station: _Station, other: _Station, sent_at: int) -> None:
        """What came round to its sender was delivered to all of the ring: virtual synchrony. It hurries nobody."""
        if other.ring != station.ring or not self._hears(station.name, other.name):
            return
        late = self._dice.uniform(0, self.signal_late) if self.signal_late else 0.0
        event, agent = SignalReceived(station.name, "here", None, sent_at), other.agent
        self._clock.after(0.005 + late, lambda: self._tell(other, event) if other.agent == agent else None)

    def _tell_api(self, sender: str, kind: str, node: str) -> None:
        """The API of that node is in the ring too, whatever its agent does."""
        lost = self._dice.random() < self.signal_loss
        if self._stations[sender].ring == self._stations[node].ring and self._hears(sender, node) and not lost:
            self._clock.after(0.01, lambda: self.on_api(node, kind))

    # -- who reaches whom

    def reach(self, a: str, b: str) -> bool:
        """True when both are alive and a packet gets through."""
        one, two = self._stations[a], self._stations[b]
        if not (one.up and two.up) or one.frozen or two.frozen or self._side[a] != self._side[b]:
            return False
        return not self._lost or not {(a, b), (b, a)} & self._lost

    def reachable(self, name: str) -> frozenset[str]:
        """All that it reaches, itself too."""
        return frozenset(n for n in self._stations if self.reach(name, n))

    def _hears(self, a: str, b: str) -> bool:
        """The same for their corosyncs."""
        return self.reach(a, b) and not self._stations[a].hung and not self._stations[b].hung

    def _audience(self, name: str) -> frozenset[str]:
        """All that it hears; where links are lost, of these as many as also hear each other, its ring first."""
        heard = [n for n in self._stations if self._hears(name, n)]
        if not self._lost or name not in heard:
            return frozenset(heard)
        ring = self._stations[name].ring_members
        chosen = [name]
        for other in sorted(heard, key=lambda n: (n not in ring, n)):
            if other != name and all(self._hears(other, n) for n in chosen):
                chosen.append(other)
        return frozenset(chosen)

    def quorate(self, name: str) -> bool:
        """What its corosync says now."""
        return self._quorate(self._stations[name].ring_members)

    # -- rings

    def _quorate(self, members: frozenset[str]) -> bool:
        return 2 * len(members) > len(self._stations)

    def _broken(self, station: _Station) -> bool:
        others = [self._stations[n] for n in station.ring_members]
        return any(o.ring != station.ring or not self._hears(station.name, o.name) for o in others)

    def _look(self) -> None:
        """Start the timers of all that have something to notice."""
        for station in self._stations.values():
            if station.up and self._settled(station):
                station.timer = 0
            if not station.up or station.frozen or station.hung or station.timer or self._settled(station):
                continue
            times = self.times
            broken = station.ring_members and self._broken(station)
            delay = times.detect + self._random.uniform(-times.jitter, times.jitter)
            self._start_timer(station, delay if broken or self._lost else times.merge)

    def _start_timer(self, station: _Station, seconds: float) -> None:
        self._timers += 1
        station.timer = timer = self._timers
        self._clock.after(seconds, lambda: self._due(station, timer))

    def _settled(self, station: _Station) -> bool:
        return station.ring_members == self._audience(station.name) and not self._broken(station)

    def _due(self, station: _Station, timer: int) -> None:
        if station is not self._stations[station.name] or station.timer != timer:
            return
        station.timer = 0
        if not station.up or station.frozen or station.hung or self._settled(station):
            return
        self._form(self._audience(station.name))

    def _form(self, members: frozenset[str]) -> None:
        self._rings += 1
        before = {n: self._stations[n].ring for n in members}
        for name in sorted(members):
            station = self._stations[name]
            came_along = {n for n in members if before[n] == before[name] and station.ring}
            station.ring, station.ring_members, station.timer = self._rings, members, 0
            self._lose(station, came_along)
        self._on_ring(members, self._quorate(members))
        for name in sorted(members):
            station = self._stations[name]
            if station.sink is not None:
                self._later(station, MembershipChanged(members, self._quorate(members)))
        ring = self._rings
        self._clock.after(self.times.group, lambda: self._group(ring))
        self._look()

    def _lose(self, station: _Station, came_along: set[str]) -> None:
        """Who did not come along from the old ring has left the group, also when it is in the new ring."""
        gone = frozenset(station.group) - came_along - {station.name}
        if station.sink is not None and gone:
            station.group = {n: p for n, p in station.group.items() if n not in gone}
            self._later(station, GroupChanged(frozenset(station.group), frozenset(), gone))

    def _group(self, ring: int) -> None:
        """Bring what every member of the ring knows of the group up to date."""
        members = [s for s in self._stations.values() if s.ring == ring and s.up]
        now = {s.name: s.agent for s in members if s.agent}
        for station in members:
            before = station.group
            joined = frozenset(n for n, p in now.items() if before.get(n) != p)
            left = frozenset(n for n, p in before.items() if now.get(n) != p)
            if station.sink is not None and (joined or left):
                station.group = now
                self._later(station, GroupChanged(frozenset(now), joined, left))

    # -- delivery

    def _later(self, station: _Station, event: MembershipEvent, late: float = 0.0) -> None:
        """In order, a few milliseconds later; to the agent process that is connected now, and to no other."""
        moment = self._random.uniform(0.001, 0.01) * self.slow.get(station.name, 1.0)
        when = max(self._clock.monotonic() + moment + late, station.quiet_until)
        station.quiet_until = when
        agent = station.agent
        self._clock.at(when, lambda: self._tell(station, event) if station.agent == agent else None)

    def _tell(self, station: _Station, event: MembershipEvent) -> None:
        if station is not self._stations[station.name]:
            return
        if station.frozen or station.hung:
            station.held.append(event)
        elif station.sink is not None:
            station.sink(event)


class SimMembership:
    """The membership port of one agent process."""

    def __init__(self, network: SimNetwork, name: str) -> None:
        self._network, self._name = network, name

    def start(self, sink: Sink) -> None:
        """See `Membership.start`."""
        self._network.join(self._name, sink)

    def send(self, kind: str, *, vm_id: int | None = None, epoch: int = 0, node: str = "") -> None:
        """See `Membership.send`."""
        self._network.send(self._name, kind, vm_id, epoch, node)

    def stop(self) -> None:
        """See `Membership.stop`."""
        self._network.leave(self._name)
