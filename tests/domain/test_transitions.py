"""The transition tables of nodes and incidents: what a whole life of either can and cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.cluster import PHASES, IncidentPhase
from app.domain.node import TRANSITIONS, NodeState
from tests.domain.make import incident, node

WORDS = sorted({what for _, what in TRANSITIONS})
PHASE_WORDS = sorted({what for _, what in PHASES})


@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_a_node_hosts_only_after_it_was_let_in_again(words: list[str]) -> None:
    """Between a loss and the next ONLINE stands a return before any proof, or a fence that was followed by cleaning."""
    state, since = NodeState.ONLINE, []
    for what in words:
        if (state, what) not in TRANSITIONS:
            with pytest.raises(KeyError):
                node("n1", state=state).after(what)
            continue
        since.append(what)
        state = node("n1", state=state).after(what)
        if state is NodeState.ONLINE:
            assert since in (["absent", "returned"], ["absent", "fenced", "cleaned"])
            since = []


@given(st.lists(st.sampled_from(PHASE_WORDS), max_size=40))
def test_nothing_is_planned_but_on_a_proof_that_is_not_void(words: list[str]) -> None:
    phase, proofs, voids = IncidentPhase.FENCING, 0, 0
    for what in words:
        if (phase, what) not in PHASES:
            with pytest.raises(KeyError):
                incident("n1", phase).after(what)
            continue
        phase = incident("n1", phase).after(what)
        proofs, voids = proofs + (what == "proven"), voids + (what == "void")
        assert (phase in (IncidentPhase.PLANNING, IncidentPhase.STARTING)) <= (proofs == voids + 1)
        if what == "returned":
            assert proofs == voids, "who was proven dead does not just return"


def test_a_closed_incident_stays_closed_and_every_phase_leads_there() -> None:
    assert not [what for phase, what in PHASES if phase is IncidentPhase.CLOSED]
    reached = {IncidentPhase.CLOSED}
    for _ in IncidentPhase:
        reached |= {before for (before, _), after in PHASES.items() if after in reached}
    assert reached == set(IncidentPhase)


def test_every_state_of_a_node_leads_back_online() -> None:
    reached = {NodeState.ONLINE}
    for _ in NodeState:
        reached |= {before for (before, _), after in TRANSITIONS.items() if after in reached}
    assert reached == set(NodeState)
