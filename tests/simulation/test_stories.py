"""The stories as a whole: each says what it tells, and together they cover what the engine promises."""

from pathlib import Path

import pytest

SCENARIOS = Path(__file__).parent.parent / "scenarios"
STORIES = sorted(p.parent for p in SCENARIOS.glob("*/script.txt"))


@pytest.mark.parametrize("story", STORIES, ids=[s.name for s in STORIES])
def test_it_begins_with_what_it_tells(story: Path) -> None:
    first = (story / "script.txt").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# "), "the first line of a script tells the story in a sentence"
    assert len(first.split()) > 6, first
    assert not first.startswith("# covers"), "the story comes first"
