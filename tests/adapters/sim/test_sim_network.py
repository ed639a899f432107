"""The simulated Corosync does to agents what the real one does."""

from random import Random

from app.adapters.sim.clock import SimClock
from app.adapters.sim.network import NetworkTimes, SimMembership, SimNetwork
from app.domain.events import GroupChanged, MembershipChanged, SignalReceived
from app.ports.membership import MembershipEvent

NAMES = ("n1", "n2", "n3")
ALL = frozenset(NAMES)


class _Cluster:
    """Three nodes with an agent each, up and settled."""

    def __init__(self) -> None:
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, Random(1), NAMES, NetworkTimes(signal_loss=0))
        self.heard: dict[str, list[MembershipEvent]] = {n: [] for n in NAMES}
        for name in NAMES:
            self.network.power(name, on=True)
        self.wait(2)
        for name in NAMES:
            SimMembership(self.network, name).start(self.heard[name].append)
        self.wait(2)

    def wait(self, seconds: float) -> None:
        self.clock.run_until(self.clock.monotonic() + seconds, lambda: None)

    def forget(self) -> None:
        for heard in self.heard.values():
            heard.clear()

    def memberships(self, name: str) -> list[MembershipChanged]:
        return [e for e in self.heard[name] if isinstance(e, MembershipChanged)]

    def groups(self, name: str) -> list[GroupChanged]:
        return [e for e in self.heard[name] if isinstance(e, GroupChanged)]


def test_all_see_all_and_all_agents() -> None:
    cluster = _Cluster()
    for name in NAMES:
        assert cluster.memberships(name)[-1] == MembershipChanged(ALL, True)
        assert cluster.groups(name)[-1].members == ALL


def test_a_cut_is_noticed_by_both_sides_within_the_skew() -> None:
    cluster = _Cluster()
    cluster.forget()
    cluster.network.cut(frozenset({"n3"}))
    cluster.wait(2.7)
    assert not any(cluster.heard.values()), "shorter than the token timeout: nobody notices"
    cluster.wait(1.8)
    assert cluster.memberships("n1") == [MembershipChanged(frozenset({"n1", "n2"}), True)]
    assert cluster.memberships("n3") == [MembershipChanged(frozenset({"n3"}), False)]
    assert cluster.groups("n1")[-1] == GroupChanged(frozenset({"n1", "n2"}), frozenset(), frozenset({"n3"}))
    cluster.network.heal()
    cluster.wait(3)
    assert cluster.memberships("n3")[-1] == MembershipChanged(ALL, True)
    assert cluster.groups("n1")[-1].joined == {"n3"}


def test_a_blip_is_not_noticed() -> None:
    cluster = _Cluster()
    cluster.forget()
    cluster.network.cut(frozenset({"n3"}))
    cluster.wait(2)
    cluster.network.heal()
    cluster.wait(10)
    assert not any(cluster.heard.values())


def test_a_frozen_node_is_lost_to_the_others_and_hears_later_that_they_left_and_came() -> None:
    cluster = _Cluster()
    cluster.forget()
    cluster.network.freeze("n3")
    cluster.wait(10)
    assert cluster.heard["n3"] == []
    assert cluster.memberships("n1")[-1].members == {"n1", "n2"}
    cluster.network.thaw("n3")
    cluster.wait(5)
    assert cluster.memberships("n3")[-1] == MembershipChanged(ALL, True)
    assert cluster.groups("n3")[0].left == {"n1", "n2"}
    assert cluster.groups("n3")[-1].joined == {"n1", "n2"}


def test_an_agent_that_is_restarted_left_and_joined() -> None:
    cluster = _Cluster()
    cluster.forget()
    cluster.network.leave("n2")
    cluster.wait(0.001)
    cluster.network.join("n2", cluster.heard["n2"].append)
    cluster.wait(1)
    assert cluster.groups("n1")[-1] == GroupChanged(ALL, frozenset({"n2"}), frozenset({"n2"}))
    assert cluster.memberships("n1") == []


def test_a_signal_reaches_the_ring_and_its_sender_only_across_open_links() -> None:
    cluster = _Cluster()
    cluster.network.cut(frozenset({"n3"}))
    cluster.forget()
    SimMembership(cluster.network, "n1").send("look", vm_id=17)
    cluster.wait(1)
    signal = SignalReceived("n1", "look", 17)
    assert cluster.heard == {"n1": [signal], "n2": [signal], "n3": []}
