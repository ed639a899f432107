"""The stories as a whole: each says what it tells, and together they cover what the engine promises."""

from pathlib import Path

import pytest

SCENARIOS = Path(__file__).parent.parent / "scenarios"
STORIES = sorted(p.parent for p in SCENARIOS.glob("*/script.txt"))
#: what the HA engine is made of; `# covers: fencing, quorum` in a script says what its story is about
PARTS = (
    "simulator", "fencing", "quorum", "witness", "restart", "monitoring", "placement", "capacity", "maintenance",
    "return", "disarm", "heartbeat",
)  # fmt: skip


def _covers(script: Path) -> list[str]:
    lines = [x for x in script.read_text(encoding="utf-8").splitlines() if x.startswith("# covers: ")]
    return [part.strip() for line in lines for part in line.removeprefix("# covers: ").split(",")]


@pytest.mark.parametrize("story", STORIES, ids=[s.name for s in STORIES])
def test_it_begins_with_what_it_tells(story: Path) -> None:
    first = (story / "script.txt").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# "), "the first line of a script tells the story in a sentence"
    assert len(first.split()) > 6, first
    assert not first.startswith("# covers"), "the story comes first"


@pytest.mark.parametrize("story", STORIES, ids=[s.name for s in STORIES])
def test_it_says_what_it_covers(story: Path) -> None:
    covers = _covers(story / "script.txt")
    assert set(covers) <= set(PARTS), f"{covers}: a line `# covers: ...` names some of {', '.join(PARTS)}"


def test_every_part_has_stories() -> None:
    told = {part for story in STORIES for part in _covers(story / "script.txt")}
    assert set(PARTS) == told
    assert len(STORIES) >= 60
