"""What every `Membership` does, whether Corosync or one node alone."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from app.adapters.single.membership import SingleNodeMembership
from app.domain.events import GroupChanged, MembershipChanged, SignalReceived
from app.ports.membership import Membership, MembershipEvent
from tests.adapters.corosync_cluster import Line, Probe, corosync_cluster

SECONDS = 30
ME = "node1"


class Subject(Protocol):
    """One agent's membership on node1 of a cluster of one, started and watched."""

    def send(self, kind: str, vm_id: int | None = None, epoch: int = 0) -> None: ...

    def events(self) -> list[MembershipEvent]: ...

    def finish(self) -> None:
        """Stop it; returns when it has stopped."""


class InProcess:
    """A membership object of this process."""

    def __init__(self, membership: Membership) -> None:
        self.membership = membership
        self._events: list[MembershipEvent] = []
        self.threads: set[threading.Thread] = set()
        membership.start(self._take)

    def _take(self, event: MembershipEvent) -> None:
        self.threads.add(threading.current_thread())
        self._events.append(event)

    def send(self, kind: str, vm_id: int | None = None, epoch: int = 0) -> None:
        self.membership.send(kind, vm_id=vm_id, epoch=epoch)

    def events(self) -> list[MembershipEvent]:
        return list(self._events)

    def finish(self) -> None:
        self.membership.stop()


class InNamespace:
    """A membership object in the probe's process, beside a real corosync."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    def send(self, kind: str, vm_id: int | None = None, epoch: int = 0) -> None:
        self._probe.send(kind, vm_id, epoch)

    def events(self) -> list[MembershipEvent]:
        return [event for event in map(_event, list(self._probe.lines)) if event is not None]

    def finish(self) -> None:
        self._probe.finish()


def _event(line: Line) -> MembershipEvent | None:
    match line["event"]:
        case "MembershipChanged":
            return MembershipChanged(frozenset(line["members"]), line["quorate"])
        case "GroupChanged":
            return GroupChanged(*(frozenset(line[field]) for field in ("members", "joined", "left")))
        case "SignalReceived":
            return SignalReceived(line["sender"], line["kind"], line["vm_id"], line["epoch"])
        case _:
            return None


@contextmanager
def _single(_directory: Path) -> Iterator[Subject]:
    subject = InProcess(SingleNodeMembership(ME))
    try:
        yield subject
    finally:
        subject.finish()


@contextmanager
def _corosync(directory: Path) -> Iterator[Subject]:
    with corosync_cluster(directory, size=1) as cluster:
        yield InNamespace(cluster.nodes[0].probe())


@pytest.fixture(params=[_single, pytest.param(_corosync, marks=pytest.mark.lab)], ids=["single", "corosync"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    with request.param(tmp_path) as made:
        yield made


def wait(subject: Subject, wanted: Callable[[list[MembershipEvent]], bool]) -> list[MembershipEvent]:
    deadline = time.monotonic() + SECONDS
    while not wanted(events := subject.events()):
        assert time.monotonic() < deadline, events
        time.sleep(0.01)
    return events


def signals(events: list[MembershipEvent]) -> list[SignalReceived]:
    return [event for event in events if isinstance(event, SignalReceived)]


def joined(events: list[MembershipEvent]) -> bool:
    me = frozenset({ME})
    return MembershipChanged(me, True) in events and GroupChanged(me, joined=me, left=frozenset()) in events


def test_it_tells_of_itself_in_a_quorate_partition_and_in_the_group(subject: Subject) -> None:
    events = wait(subject, joined)
    views = [event for event in events if isinstance(event, MembershipChanged)]
    assert all(view.members == {ME} for view in views if view.quorate)


def test_a_signal_comes_back_whole_and_in_order(subject: Subject) -> None:
    wait(subject, joined)
    sent = [SignalReceived(ME, f"kind-{number}", number % 3 or None, number) for number in range(50)]
    for each in sent:
        subject.send(each.kind, each.vm_id, each.epoch)
    events = wait(subject, lambda events: len(signals(events)) >= len(sent))
    assert signals(events) == sent


def test_sending_before_it_has_joined_is_no_error(subject: Subject) -> None:
    subject.send("early")
    wait(subject, joined)
    subject.send("later")
    wait(subject, lambda events: SignalReceived(ME, "later") in events)


def test_after_stop_nothing_comes(subject: Subject) -> None:
    wait(subject, joined)
    subject.finish()
    events = subject.events()
    assert not [event for event in events if isinstance(event, MembershipChanged) and not event.members][1:]
    assert events[-1] != MembershipChanged(frozenset(), False), "to stop is no loss"


def test_events_come_from_another_thread_and_stopping_twice_or_sending_after_it_is_no_error() -> None:
    subject = InProcess(SingleNodeMembership(ME))
    wait(subject, joined)
    assert threading.current_thread() not in subject.threads
    subject.finish()
    before = subject.events()
    subject.finish()
    subject.send("late")
    assert subject.events() == before


def test_it_can_be_stopped_from_the_sink_and_a_failing_sink_does_not_end_it() -> None:
    membership = SingleNodeMembership(ME)
    taken: list[MembershipEvent] = []
    stopped = threading.Event()

    def sink(event: MembershipEvent) -> None:
        taken.append(event)
        if isinstance(event, SignalReceived):
            membership.stop()
            stopped.set()
        else:
            raise RuntimeError("the sink has a bug")

    membership.start(sink)
    membership.send("stop")
    membership.send("never")
    assert stopped.wait(SECONDS)
    membership.stop()
    assert [type(event) for event in taken] == [MembershipChanged, GroupChanged, SignalReceived]
