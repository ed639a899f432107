"""The settings that pages show are settings that the product takes."""

import re
import tomllib
from pathlib import Path

import pytest

from app.config import Config
from tests.house.sources import ROOT

#: the example of a plugin has a pyproject.toml in its page
_FOREIGN = "[build-system]"


def _shown() -> list[tuple[str, str]]:
    found = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        blocks = re.findall(r"^```toml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        found += [(page.name, text) for text in blocks if _FOREIGN not in text]
    example = Path("packaging/example.toml")
    return [*found, (str(example), (ROOT / example).read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "text"), _shown(), ids=[page for page, _ in _shown()])
def test_settings_in_a_page_can_be_used_as_they_stand(page: str, text: str) -> None:
    assert Config.model_validate(tomllib.loads(text)), page


def test_there_are_some() -> None:
    assert {"monitoring.md", "networks.md", "install.md"} <= {page for page, _ in _shown()}
