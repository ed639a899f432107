"""Who leads: seniority without a vote, the epoch as the last word, and nothing outside of a quorate partition."""

from dataclasses import replace

from app.domain.actions import Action, Campaign, LoadView, OpenIncident, SendSignal
from app.domain.events import EpochLost, EpochWon, SignalReceived, StoreLost, ViewLoaded
from tests.domain.make import node, view
from tests.domain.one_agent import Coordinator, only

ALL = "n1 n2 n3"


def _calm(one: Coordinator, since: float, until: float, *, deaf: bool = False) -> tuple[Action, ...]:
    """Step every 0.2 s, its own signals come round the ring or not; all that is asked for meanwhile."""
    done: tuple[Action, ...] = ()
    for tick in range(int(since * 5) + 1, int(until * 5) + 1):
        done += one.step(tick / 5, *(() if deaf else (SignalReceived(one.state.me, "here", epoch=tick * 200),)))
    return done


def _leads(one: Coordinator) -> bool:
    return one.state.leading


# -- seniority


def test_the_first_in_the_group_campaigns_and_those_who_come_later_do_not() -> None:
    first, second = Coordinator.quorate("n1"), Coordinator.quorate("n2")
    assert only(Campaign, first.group(0.1, "n1", joined="n1"))
    assert not only(Campaign, second.group(0.2, "n1 n2", joined="n2"))
    assert second.state.seniors == {"n1"}


def test_of_those_that_join_at_once_the_first_by_name_is_senior() -> None:
    one, two = Coordinator.quorate("n1"), Coordinator.quorate("n2")
    assert only(Campaign, one.group(0.1, "n1 n2", joined="n1 n2"))
    assert not only(Campaign, two.group(0.1, "n1 n2", joined="n1 n2"))


def test_the_next_senior_campaigns_when_the_last_of_its_seniors_has_gone() -> None:
    third = Coordinator.quorate("n3")
    third.group(0.1, ALL, joined="n3")
    assert not only(Campaign, third.group(0.2, "n2 n3", left="n1"))
    assert only(Campaign, third.group(0.3, "n3", left="n2"))


def test_a_senior_that_restarts_comes_back_as_a_junior() -> None:
    second = Coordinator.quorate("n2")
    second.group(0.1, "n1 n2", joined="n2")
    assert only(Campaign, second.group(0.2, "n2", left="n1"))
    second.group(0.3, "n1 n2", joined="n1")
    assert second.state.seniors == frozenset()


def test_who_regains_quorum_is_junior_to_all_who_are_there() -> None:
    one = Coordinator.leading()
    one.members(5.0, "n1", quorate=False)
    one.members(9.0, ALL)
    assert not one.state.leading
    assert one.state.seniors == {"n2", "n3"}


def _all_back(name: str) -> Coordinator:
    """Everybody lost quorum and has it back: each thinks that the others are senior."""
    one = Coordinator.quorate(name)
    one.group(0.0, ALL, joined=name)
    one.group(0.0, ALL)
    one.members(1.0, name, quorate=False)
    one.members(2.0, ALL)
    return one


def test_where_nobody_leads_for_a_while_they_try_one_after_the_other() -> None:
    silence = Coordinator.quorate("n1").settings.leader_silence_seconds
    for turn, name in enumerate(("n1", "n2", "n3"), start=1):
        one = _all_back(name)
        assert not only(Campaign, _calm(one, 2.0, 2.0 + turn * silence))
        assert only(Campaign, _calm(one, 2.0 + turn * silence, 3.0 + turn * silence))


def test_who_hears_not_even_itself_does_not_take_the_lead() -> None:
    """Its Corosync hangs: it is not the leader who is silent."""
    one = _all_back("n1")
    one.step(2.1, SignalReceived("n1", "here", epoch=2050))
    assert not only(Campaign, _calm(one, 2.2, 30.0, deaf=True))


def test_a_leader_that_is_heard_keeps_the_others_quiet() -> None:
    one = Coordinator.quorate("n1")
    one.group(0.0, ALL, joined="n1")
    one.state = replace(one.state, seniors=frozenset({"n2"}))
    for second in range(1, 20):
        assert not only(Campaign, one.step(float(second), SignalReceived("n2", "lead", epoch=3)))
        assert not only(Campaign, _calm(one, second, second + 0.8))


def test_who_has_just_gained_quorum_first_listens_for_a_leader() -> None:
    one = Coordinator("n1")
    one.members(0.0, ALL)
    one.group(0.0, "n1", joined="n1")
    wait = 1.5 * one.settings.lead_interval_seconds
    assert not only(Campaign, _calm(one, 0.0, wait - 0.2))
    assert only(Campaign, _calm(one, wait - 0.2, wait + 0.2))


# -- the epoch


def test_who_wins_the_epoch_says_so_and_reads_first() -> None:
    one = Coordinator.quorate("n1")
    one.group(0.1, "n1", joined="n1")
    actions = one.step(0.2, EpochWon(5))
    assert only(SendSignal, actions) == [SendSignal("lead", epoch=5)]
    assert only(LoadView, actions)
    assert one.state.leading


def test_one_campaign_at_a_time_and_again_after_a_pause_when_the_database_does_not_answer() -> None:
    one = Coordinator.quorate("n1")
    assert only(Campaign, one.group(0.1, "n1", joined="n1"))
    assert not only(Campaign, one.step(0.3))
    assert not only(Campaign, one.step(0.5, StoreLost("campaign", "gone")))
    assert only(Campaign, one.step(0.5 + one.settings.campaign_retry_seconds))


def test_a_write_that_was_refused_ends_the_leadership() -> None:
    one = Coordinator.leading(epoch=5)
    one.sees(0.5, view([node("n1"), node("n2"), node("n3")]))
    assert not one.step(1.0, EpochLost(5))
    assert not one.state.leading
    assert one.state.view is None


def test_a_newer_leader_is_obeyed_and_an_older_one_ignored() -> None:
    one = Coordinator.leading(epoch=5)
    one.step(1.0, SignalReceived("n2", "lead", epoch=4))
    assert _leads(one)
    one.step(1.2, SignalReceived("n2", "lead", epoch=6))
    assert not _leads(one)
    assert "n2" in one.state.seniors


def test_an_epoch_that_was_won_late_does_not_make_a_leader_beside_a_newer_one() -> None:
    one = Coordinator.quorate("n1")
    one.group(0.1, ALL, joined="n1 n2 n3")
    one.step(0.2, SignalReceived("n2", "lead", epoch=9))
    one.step(0.4, EpochWon(8))
    assert not one.state.leading


def test_a_leader_is_heard_once_a_second() -> None:
    one = Coordinator.leading()
    lead = only(SendSignal, _calm(one, 0.0, 10.0))
    assert len([s for s in lead if s.kind == "lead"]) == 10


# -- no quorum, no decision


def test_without_quorum_it_leads_no_more_and_asks_for_nothing() -> None:
    one = Coordinator.leading()
    one.sees(0.5, view([node("n1"), node("n2"), node("n3")]))
    assert one.members(1.0, "n1", quorate=False) == ()
    assert not one.state.leading
    assert _calm(one, 1.0, 60.0) == ()


def test_a_view_that_was_asked_for_before_quorum_went_decides_nothing() -> None:
    one = Coordinator.leading()
    one.members(1.0, "n1", quorate=False)
    late = view([node("n1"), node("n2"), node("n3")])
    assert one.step(1.5, ViewLoaded(late, asked_at=0.9)) == ()
    assert not only(OpenIncident, one.members(2.0, "n1 n2"))


# -- an agent that stood still


def test_after_standing_still_it_leads_no_more_and_absence_counts_anew() -> None:
    one = Coordinator.leading()
    one.members(1.0, "n1 n2")
    assert one.state.absent_seconds("n3", 2.0) == 1.0
    one.step(20.0)
    assert not one.state.leading
    assert one.state.absent_seconds("n3", 20.0) == 0.0
    assert not only(Campaign, one.step(20.2)), "Corosync first has the time to tell what was missed"


def test_an_epoch_that_was_won_before_standing_still_is_not_taken_up_after_it() -> None:
    one = Coordinator.quorate("n1")
    one.group(0.1, "n1", joined="n1")
    one.step(20.0, EpochWon(5))
    assert not one.state.leading
