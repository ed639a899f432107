"""`replace` keeps the contract of dataclasses.replace."""

import pytest

from app.domain import node_agent
from app.domain.fencing import FenceProgress
from app.domain.replace import replace


def test_it_changes_a_copy() -> None:
    before = node_agent.start("n1", 0.0)
    after = replace(before, quorate=True)
    assert (before.quorate, after.quorate) == (False, True)
    assert replace(after, quorate=False) == before


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="has no field quorat"):
        replace(node_agent.start("n1", 0.0), quorat=True)


def test_values_with_slots_work_too() -> None:
    assert replace(FenceProgress(), last_error="x") == FenceProgress(last_error="x")
