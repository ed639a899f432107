"""Every file that is rendered from a layout, as it was read and found right: golden/NAME."""

from pathlib import Path

import pytest

from app.adapters.cluster_files.corosync_conf import corosync_conf
from app.adapters.cluster_files.galera_conf import database_urls, galera_conf
from app.adapters.cluster_files.layout_json import MalformedLayout, layout_from_text, layout_to_text
from app.adapters.cluster_files.node_config import node_config
from app.domain.layout import Layout, first_layout, with_member
from app.domain.node import NodeRole

GOLDEN = Path(__file__).parent / "golden"
ONE = first_layout("rack-1", "node1", ("10.77.0.11",), token_milliseconds=1500)
_TWO = with_member(
    first_layout("rack-1", "node1", ("10.77.1.11", "10.77.0.11")), "node2", ("10.77.1.12", "10.77.0.12"), NodeRole.SPARE
)
THREE = with_member(_TWO, "node3", ("fd00::13", "10.77.0.13"), NodeRole.WITNESS, database=True)
FOUR = with_member(THREE, "node4", ("10.77.1.14", "10.77.0.14"), NodeRole.COMPUTE)
FENCE = {"fence_devices": [{"node": "node1", "command": ["fence_ipmilan"], "options": {"ip": "10.9.0.1"}}]}


def _urls(layout: Layout, name: str) -> str:
    node = layout.member(name)
    assert node is not None
    return "\n".join(database_urls(layout, node, "s3cret/word")) + "\n"


CASES = {
    "corosync-one-link.conf": corosync_conf(ONE),
    "corosync-two-links.conf": corosync_conf(FOUR),
    "galera-alone.cnf": galera_conf(ONE, ONE.members[0]),
    "galera-three.cnf": galera_conf(FOUR, FOUR.members[0]),
    "galera-ipv6.cnf": galera_conf(FOUR, FOUR.members[2]),
    "urls-of-a-holder.txt": _urls(FOUR, "node1"),
    "urls-of-a-user.txt": _urls(FOUR, "node4"),
    "holdfast-first.toml": node_config(ONE.members[0], "/dev/watchdog0"),
    "holdfast-joined.toml": node_config(FOUR.members[3], "", FENCE),
    "layout.json": layout_to_text(FOUR),
}


@pytest.mark.parametrize("name", CASES)
def test_the_file_is_as_it_was(name: str) -> None:
    assert CASES[name] == (GOLDEN / name).read_text(encoding="utf-8")


def test_a_layout_comes_back_from_its_text() -> None:
    assert layout_from_text(layout_to_text(FOUR)) == FOUR


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"id": 1, "members": [{}]}', '{"members": []}'])
def test_another_text_is_no_layout(text: str) -> None:
    with pytest.raises(MalformedLayout):
        layout_from_text(text)
