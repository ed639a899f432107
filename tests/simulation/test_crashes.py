"""kill -9 of an agent between any two of its steps, in the middle of a recovery: nothing is half done or lost."""

import pytest

from app.simulator.layout import Layout, NodeLayout, VmLayout
from app.simulator.run import run
from app.simulator.script import parse_script

THREE = Layout(
    tuple(NodeLayout(f"n{i}") for i in (1, 2, 3)), tuple(VmLayout(f"vm{i}", node=f"n{i}") for i in (1, 2, 3))
)
#: n3 dies; each agent of the others dies at its given step after that was noticed
STORY = "20s power off n3\n22.8s agent crash {node} {step}\n40s power on n3\n100s rest\n"
TRANSACTIONS = "20s power off n3\n22.8s database {what} n1 {count}\n40s power on n3\n100s rest\n"


def _told(script: str) -> str:
    outcome = run(THREE, parse_script(script, THREE, "script"))
    assert outcome.violation == "", script
    return outcome.text


@pytest.mark.parametrize(("node", "steps"), [("n1", range(1, 101)), ("n2", range(1, 60, 4))])
def test_a_crash_at_every_step(node: str, steps: range) -> None:
    """Among them those between a COMMIT and its answer: the incident is written, its writer dies, another goes on."""
    taken_over = False
    for step in steps:
        before, crashed, after = _told(STORY.format(node=node, step=step)).partition("its agent crashes")
        assert crashed, step
        assert "closed: 1 VMs verified up" in before + after, step
        taken_over |= "incident 1 of n3: opened" in before and "n2        leads" in after
    assert taken_over or node != "n1"


@pytest.mark.parametrize("what", ["mute", "conflict"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_transactions_whose_outcome_is_unknown(what: str, count: int) -> None:
    text = _told(TRANSACTIONS.format(what=what, count=count))
    assert text.count("opened") == 1
    assert "closed: 1 VMs verified up" in text
