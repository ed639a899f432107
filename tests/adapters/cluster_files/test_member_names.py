"""Names of nodes that joined later are known without a restart."""

from pathlib import Path

import pytest

from app.adapters.cluster_files.layout_json import layout_to_text
from app.adapters.cluster_files.member_names import MemberNames
from app.domain.layout import first_layout, with_member
from app.domain.node import NodeRole


def test_a_node_that_joined_later_has_its_name(tmp_path: Path) -> None:
    file = tmp_path / "layout.json"
    names = MemberNames({1: "n1"}, file)
    assert 2 not in names, "there is no layout yet"
    layout = with_member(first_layout("c", "n1", ("10.0.0.1",)), "n2", ("10.0.0.2",), NodeRole.COMPUTE)
    file.write_text(layout_to_text(layout))
    assert names.get(2, "?") == "n2"
    assert dict(names) == {1: "n1", 2: "n2"}
    with pytest.raises(KeyError):
        names[3]


def test_a_broken_layout_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "layout.json"
    file.write_text("{")
    assert len(MemberNames({1: "n1"}, file)) == 1
    assert MemberNames({1: "n1"}, file).get(2) is None
