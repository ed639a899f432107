"""One node lets another in: a real TLS connection, a real token, and those who must stay outside."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from importlib.metadata import version
from pathlib import Path

import pytest

from app.adapters.cluster_files import pki
from app.adapters.cluster_files.layout_json import layout_from_text
from app.domain.errors import InvalidInput
from app.domain.layout import Layout, first_layout, with_member
from app.domain.node import NodeRole
from app.ports.store import StoreUnavailable
from app.setup.errors import SetupFailed
from app.setup.invite import WRONG_TOKENS_MAX, Invitation, InviteServer, Secrets, serve_until
from app.setup.join import Join, JoinOrder, Json, ask
from app.setup.join_token import JoinToken, new_token, parse_token
from app.setup.machine import Machine

NOW = datetime.now(UTC)


class Member:
    """A node that invites, on a port of its own."""

    def __init__(self, directory: Path) -> None:
        ca_key, key = pki.new_key(), pki.new_key()
        ca = pki.new_authority("rack", ca_key, NOW)
        certificate = pki.sign_request(pki.new_request("n1", key), "n1", ("127.0.0.1",), ca, ca_key, NOW)
        (directory / "node.pem").write_bytes(certificate)
        (directory / "node.key").write_bytes(pki.key_to_pem(key))
        self.layout = first_layout("rack", "n1", ("10.0.0.1",))
        self.ca = ca
        self.trouble: Exception | None = None
        self.token = new_token(pki.fingerprint(certificate))
        secrets = Secrets(ca, pki.key_to_pem(ca_key), b"\x00corosync\xff", "feed", {"pools": [{"name": "shared"}]})
        self.invitation = Invitation(self.token, secrets, self._admit)
        self.server = InviteServer("127.0.0.1", 0, directory / "node.pem", directory / "node.key", self.invitation)
        self.thread = threading.Thread(target=serve_until, args=(self.server, 60))
        self.port = self.server.server_address[1]

    def _admit(self, name: str, addresses: tuple[str, ...], role: NodeRole, database: bool | None) -> Layout:
        if self.trouble:
            raise self.trouble
        self.layout = with_member(self.layout, name, addresses, role, database=database)
        return self.layout


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Member]:
    one = Member(tmp_path)
    one.thread.start()
    yield one
    one.invitation.closed.set()
    one.thread.join(timeout=10)


def order(member: Member, token: JoinToken | None = None, node: str = "n2") -> JoinOrder:
    used = token or member.token
    return JoinOrder("127.0.0.1", member.port, used, node, ("10.0.0.2",), NodeRole.COMPUTE, None)


def words(one: JoinOrder, **changes: object) -> Json:
    request = pki.new_request(one.node, pki.new_key()).decode()
    said = {"node": one.node, "addresses": list(one.addresses), "role": "compute", "database": None, "csr": request}
    return {**said, "version": version("holdfast"), **changes}


def test_a_node_with_the_token_gets_all_it_needs(member: Member) -> None:
    one = order(member, parse_token(member.token.text))
    bundle = ask(one, "/join", words(one))
    layout = layout_from_text(bundle["layout"])
    assert [m.name for m in layout.members] == ["n1", "n2"]
    assert bundle["database_password"] == "feed"
    assert bundle["shared"] == {"pools": [{"name": "shared"}]}
    assert bundle["ca"].encode() == member.ca
    assert "BEGIN CERTIFICATE" in bundle["certificate"]
    assert bundle["ca_key"], "a member that is no witness can invite, too"


def test_the_same_node_may_ask_again_another_may_not(member: Member) -> None:
    one = order(member)
    first, second = ask(one, "/join", words(one)), ask(one, "/join", words(one))
    assert first["layout"] == second["layout"]
    other = order(member, node="n3")
    with pytest.raises(SetupFailed, match="was used by n2"):
        ask(other, "/join", words(other))


def test_after_the_farewell_the_token_is_void(member: Member) -> None:
    one = order(member)
    ask(one, "/join", words(one))
    ask(one, "/joined", {"node": "n2"})
    assert member.invitation.joined.wait(5)
    member.thread.join(timeout=10)  # the port is closed
    with pytest.raises(SetupFailed):
        ask(one, "/join", words(one))


def test_the_farewell_is_answered_before_the_invitation_ends(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for it ends the process, and with it an answer that is still to be sent."""
    answers, too_soon = BaseHTTPRequestHandler.send_response, []

    def send_response(caller: BaseHTTPRequestHandler, code: int, message: str | None = None) -> None:
        too_soon.append(member.invitation.joined.is_set())
        answers(caller, code, message)

    monkeypatch.setattr(BaseHTTPRequestHandler, "send_response", send_response)
    one = order(member)
    ask(one, "/join", words(one))
    ask(one, "/joined", {"node": "n2"})
    assert member.invitation.joined.wait(5)
    assert too_soon == [False, False]


def test_a_farewell_that_nobody_hears_is_no_failure(tmp_path: Path, member: Member) -> None:
    one = order(member)
    ask(one, "/join", words(one))
    member.invitation.closed.set()
    member.thread.join(timeout=10)
    farewell = Join(Machine(tmp_path), one).steps()[-1]
    assert farewell.name == "farewell"
    assert "this node is a member all the same" in farewell.work()


def test_a_witness_gets_no_key_of_the_authority(member: Member) -> None:
    one = order(member)
    assert ask(one, "/join", words(one, role="witness"))["ca_key"] == ""


def test_a_wrong_secret_gets_nothing_and_five_close_the_invitation(member: Member) -> None:
    stranger = order(member, replace(member.token, secret=b"x" * 24))
    for _ in range(WRONG_TOKENS_MAX):
        with pytest.raises(SetupFailed, match="token is wrong"):
            ask(stranger, "/join", words(stranger))
    one = order(member)
    with pytest.raises(SetupFailed):
        ask(one, "/join", words(one))
    assert len(member.layout.members) == 1


def test_nothing_is_told_to_a_server_that_is_not_the_tokens(member: Member) -> None:
    """Somebody in between shows another certificate: the secret never leaves."""
    one = order(member, replace(member.token, fingerprint="00" * 32))
    with pytest.raises(SetupFailed, match="not the node that made this token"):
        ask(one, "/join", words(one))
    assert member.invitation.node == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": "0.0.0"}, "install the same version"),
        ({"csr": "nonsense"}, "no certificate request"),
        ({"role": "king"}, "king"),
        ({"addresses": ["10.0.0.1"]}, "belongs to another member"),
        ({"node": ""}, "node is missing"),
    ],
)
def test_bad_words_are_answered_with_what_is_wrong(member: Member, changes: Json, said: str) -> None:
    one = order(member)
    with pytest.raises(SetupFailed, match=said):
        ask(one, "/join", words(one, **changes))
    assert [m.name for m in member.layout.members] == ["n1"], "nobody was let in"
    other = order(member, node="n3")
    assert ask(other, "/join", words(other))["layout"], "and the token is not used up"


@pytest.mark.parametrize("text", ["", "hfj_", "hfj_!!!", "hf_abc", "hfj_" + "A" * 70])
def test_what_is_no_token_is_said(text: str) -> None:
    with pytest.raises(InvalidInput, match="join token"):
        parse_token(text)


@pytest.mark.parametrize("trouble", [StoreUnavailable("no member answers"), OSError("no space left on device")])
def test_trouble_of_the_inviting_node_is_said_and_the_next_try_gets_in(member: Member, trouble: Exception) -> None:
    one = order(member)
    member.trouble = trouble
    with pytest.raises(SetupFailed, match=rf"it cannot do that now \({trouble}\): say the same again"):
        ask(one, "/join", words(one))
    member.trouble = None
    other = order(member, node="n3")
    with pytest.raises(SetupFailed, match="was used by n2"):
        ask(other, "/join", words(other))
    assert ask(one, "/join", words(one))["layout"]


def test_nobody_listens(member: Member) -> None:
    with pytest.raises(SetupFailed, match="does not answer"):
        ask(replace(order(member), port=1), "/join", {})
