"""docs/install.md can be followed by a machine: every block is a step of some server, in the page's order."""

import tomllib

import pytest

from tests.nodes.errors import NodeError
from tests.nodes.guide import GUIDE, PACKAGE, TOKEN, Step, guide_addresses, steps
from tests.nodes.reader import token_in

PAGE = GUIDE.read_text(encoding="utf-8")
STEPS = steps(PAGE)


def _that_say(words: str) -> list[Step]:
    return [s for s in STEPS if words in s.text]


def test_the_guide_is_these_steps() -> None:
    told = [(s.node, s.text.split("\n")[0].partition(" --")[0].partition("=")[0]) for s in STEPS]
    package = f"apt install {PACKAGE} chrony corosync fence-agents galera-4 ipmitool mariadb-server rsync stunnel4"
    assert told == [
        ("node1", package), ("node2", package), ("node3", package),
        ("node1", "holdfast cluster init"),
        ("node1", "export HOLDFAST_TOKEN"),
        ("node1", "[[fence_devices]]"),
        ("node1", "systemctl restart holdfast-agent"),
        ("node1", "holdfast cluster invite"), ("node2", "holdfast cluster join 10.0.0.11"),
        ("node1", "holdfast cluster invite"), ("node3", "holdfast cluster join 10.0.0.11"),
        ("node3", "holdfast cluster status"),
        ("node1", "cp debian-12-generic-amd64.qcow2 /srv/holdfast/shared/images/"),
    ]  # fmt: skip
    assert [s.waits for s in _that_say("invite")] == [True, True]


def test_each_server_joins_with_its_own_address() -> None:
    second, third = _that_say("cluster join")
    assert second.text == "holdfast cluster join 10.0.0.11 --token TOKEN --address 10.0.0.12\n"
    assert third.text == "holdfast cluster join 10.0.0.11 --token TOKEN --address 10.0.0.13\n"


def test_the_readers_own_words_take_their_places() -> None:
    mine = {"10.0.0.11": "10.77.1.1", "10.0.0.12": "10.77.1.2", "10.0.0.13": "10.77.1.3", TOKEN: "hf-xyz"}
    assert (
        _that_say("cluster join")[1].of(mine) == "holdfast cluster join 10.77.1.1 --token hf-xyz --address 10.77.1.3\n"
    )
    assert _that_say("apt install")[0].of({PACKAGE: "holdfast"}).startswith("apt install holdfast chrony")
    (toml,) = (s for s in STEPS if s.kind == "toml")
    said = toml.of({**mine, "10.0.0.111": "10.77.9.1"})
    assert 'ip = "10.77.9.1"' in said, "one address is no part of another"
    assert 'ip = "10.0.0.112"' in said


def test_a_token_that_nobody_gave_is_an_error_and_no_word() -> None:
    with pytest.raises(NodeError, match="nobody said what to put for TOKEN"):
        _that_say("cluster join")[0].of({})
    (environment,) = _that_say("HOLDFAST_TOKEN")
    assert "export HOLDFAST_TOKEN=$(" in environment.of({})


def test_what_it_writes_is_a_configuration() -> None:
    (toml,) = (s for s in STEPS if s.kind == "toml")
    tables = tomllib.loads(toml.text)
    assert [d["node"] for d in tables["fence_devices"]] == list(guide_addresses(PAGE))
    assert tables["pools"][0]["shared"] is True


def test_a_block_that_nobody_marked_is_an_error() -> None:
    page = PAGE.replace("<!-- on: node1 -->\n", "", 1)
    with pytest.raises(NodeError, match="no comment says where this is run: 'holdfast cluster init"):
        steps(page)


def test_a_reader_finds_the_token_in_what_invite_prints() -> None:
    said = [
        "On the new node, within 30 minutes:\n",
        "\n",
        "  holdfast cluster join 10.0.0.11 --token hf-xyz --address IT\n",
    ]
    assert token_in(said) == "hf-xyz"
    with pytest.raises(NodeError, match="no line to join with in 'refused"):
        token_in(["refused\n"])
