"""How a cluster's layout grows and shrinks."""

import pytest

from app.domain.errors import Conflict, InvalidInput
from app.domain.layout import Layout, first_layout, with_member, without_member
from app.domain.node import NodeRole

COMPUTE = NodeRole.COMPUTE


def grown(count: int) -> Layout:
    layout = first_layout("rack", "n1", ("10.0.0.1",))
    for i in range(2, count + 1):
        layout = with_member(layout, f"n{i}", (f"10.0.0.{i}",), COMPUTE)
    return layout


def test_each_change_is_a_new_version_and_the_first_three_hold_the_database() -> None:
    layout = grown(5)
    assert layout.version == 5
    assert [m.id for m in layout.members] == [1, 2, 3, 4, 5]
    assert [m.name for m in layout.database_members] == ["n1", "n2", "n3"]


def test_a_repeated_join_changes_nothing() -> None:
    layout = grown(3)
    assert with_member(layout, "n3", ("10.0.0.3",), COMPUTE) is layout


def test_an_id_is_never_given_twice() -> None:
    """What was said about the dead node 3 must never be taken for its successor."""
    layout = without_member(grown(3), "n3")
    again = with_member(layout, "n3", ("10.0.0.3",), COMPUTE)
    assert again.members[-1].id == 4
    assert again.members[-1].database, "the one that replaces a holder of the database holds it, too"


@pytest.mark.parametrize(
    ("name", "addresses"), [("n2", ("10.0.0.9",)), ("n9", ("10.0.0.2",))], ids=["its name", "its address"]
)
def test_what_another_member_has_is_refused(name: str, addresses: tuple[str, ...]) -> None:
    with pytest.raises(Conflict):
        with_member(grown(2), name, addresses, COMPUTE)


@pytest.mark.parametrize(("name", "addresses"), [("n2", ()), ("n2", ("a", "b")), ("n 2", ("a",)), ("", ("a",))])
def test_bad_words_are_named(name: str, addresses: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput):
        with_member(grown(1), name, addresses, COMPUTE)


def test_the_last_node_and_the_last_database_stay() -> None:
    with pytest.raises(Conflict, match="last node"):
        without_member(grown(1), "n1")
    two = with_member(grown(1), "n2", ("10.0.0.2",), COMPUTE, database=False)
    with pytest.raises(Conflict, match="only node that holds the database"):
        without_member(two, "n1")
    assert without_member(two, "nobody") is two
