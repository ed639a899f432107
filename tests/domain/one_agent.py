"""One core with its state: facts in, actions out, at the times that the test says."""

from dataclasses import replace
from typing import TypeVar

from app.domain import coordinator, coordinator_state, node_agent
from app.domain.actions import Action
from app.domain.cluster import ClusterView
from app.domain.coordinator_settings import CoordinatorSettings
from app.domain.coordinator_state import CoordinatorState
from app.domain.events import (
    DesiredLoaded,
    DomainFact,
    DomainsListed,
    DomainState,
    EpochWon,
    Event,
    GroupChanged,
    MembershipChanged,
    SignalReceived,
    ViewLoaded,
    VmWorkDone,
)
from app.domain.node import Node
from app.domain.node_agent_state import NodeAgentSettings, NodeAgentState
from app.domain.vm import Vm
from tests.domain.make import node

A = TypeVar("A")


def only(kind: type[A], actions: tuple[Action, ...]) -> list[A]:
    """The actions of that kind."""
    return [a for a in actions if isinstance(a, kind)]


def names(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Coordinator:
    """The coordinator's core of one agent."""

    def __init__(self, me: str = "n1", **settings: object) -> None:
        methods = {"fence_methods": {"n3": ("power",)}, "startup_grace_seconds": 30.0, "blip_seconds": 0.0, **settings}
        self.settings = CoordinatorSettings(**methods)  # type: ignore[arg-type]
        self.state: CoordinatorState = coordinator_state.start(me, 0.0)

    def step(self, now: float, *events: Event) -> tuple[Action, ...]:
        self.state, actions = coordinator.step(self.state, now, events, self.settings)
        return actions

    def members(self, now: float, text: str, *, quorate: bool = True) -> tuple[Action, ...]:
        return self.step(now, MembershipChanged(names(text), quorate))

    def group(self, now: float, text: str, *, joined: str = "", left: str = "") -> tuple[Action, ...]:
        return self.step(now, GroupChanged(names(text), names(joined), names(left)))

    def sees(self, now: float, view: ClusterView) -> tuple[Action, ...]:
        """The reading of the database that was asked for just now arrives."""
        return self.step(now, ViewLoaded(view, asked_at=now))

    @classmethod
    def quorate(cls, me: str = "n1", **settings: object) -> "Coordinator":
        """In a quorate partition with n1, n2 and n3 for almost two seconds, not yet in the group."""
        one = cls(me, **settings)
        one.state = coordinator_state.start(me, -1.9)
        one.members(-1.9, "n1 n2 n3")
        return one

    @classmethod
    def leading(cls, epoch: int = 5, **settings: object) -> "Coordinator":
        """n1 leads n1, n2 and n3, all in the group and seen, since second 0."""
        one = cls.quorate("n1", **settings)
        one.group(0.0, "n1", joined="n1")
        one.group(0.0, "n1 n2 n3", joined="n2 n3")
        one.step(0.0, EpochWon(epoch))
        return one


class NodeAgent:
    """The core of the agent of n1."""

    def __init__(self, **settings: object) -> None:
        self.settings = NodeAgentSettings(**settings)  # type: ignore[arg-type]
        self.state: NodeAgentState = node_agent.start("n1", 0.0)
        self.row: Node | None = node("n1")
        self.ring_turns = True

    def step(self, now: float, *events: Event) -> tuple[Action, ...]:
        """One round. While the ring turns, our signal to ourselves has just come round."""
        if self.ring_turns:
            events = (SignalReceived("n1", "here", epoch=int(now * 1000)), *events)
        self.state, actions = node_agent.step(self.state, now, events, self.settings)
        return actions

    def quorum(self, now: float, *, quorate: bool = True) -> tuple[Action, ...]:
        return self.step(now, MembershipChanged(names("n1 n2 n3" if quorate else "n1"), quorate))

    def runs(self, now: float, *domains: DomainFact) -> tuple[Action, ...]:
        """libvirt's list, asked for and answered just now."""
        self._asked(now)
        return self.step(now, DomainsListed(domains))

    def wants(self, now: float, *vms: Vm) -> tuple[Action, ...]:
        """The database's word about this node, asked for and answered just now."""
        return self.step(now, DesiredLoaded(self.row, vms, asked_at=now))

    def sees(self, now: float, domains: tuple[DomainFact, ...], vms: tuple[Vm, ...]) -> tuple[Action, ...]:
        """Both in one round."""
        self._asked(now)
        return self.step(now, DesiredLoaded(self.row, vms, asked_at=now), DomainsListed(domains))

    def ended(self, now: float, vm_id: int, work: str, *domains: DomainFact) -> tuple[Action, ...]:
        """A piece of work on generation 1 ended well, and the list that follows it is there in the same round."""
        self._asked(now)
        return self.step(now, VmWorkDone(vm_id, 1, work), DomainsListed(domains))

    def _asked(self, now: float) -> None:
        """Let a sweep begin at that time, for its answer must be dated."""
        self.state = replace(self.state, listing=True, listing_at=now)

    @classmethod
    def quorate(cls, **settings: object) -> "NodeAgent":
        """Quorate and idle since second 0."""
        one = cls(**settings)
        one.quorum(0.0)
        return one


def running(vm_id: int, generation: int = 1, *, alive: bool = True) -> DomainFact:
    return DomainFact(vm_id, generation, DomainState.RUNNING, alive)


def paused(vm_id: int, generation: int = 1) -> DomainFact:
    return DomainFact(vm_id, generation, DomainState.PAUSED)


def off(vm_id: int, generation: int = 1, ended: str = "") -> DomainFact:
    return DomainFact(vm_id, generation, DomainState.SHUTOFF, None, ended)
