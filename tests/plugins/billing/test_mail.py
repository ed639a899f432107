"""Mail over a real SMTP server on loopback: what arrives, and what is said of a server that refuses."""

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from app.adapters.sim.store import MemoryStore
from app.bootstrap.parts import build_delivery
from app.config import Config, NotifySection
from app.domain.records import OutboxMessage, WebhookEndpoint
from app.plugin_api.registry import PluginError, Registry
from app.ports.billing import DeliveryResult
from app.services.deliver_outbox import deliver_due
from app.services.emit_event import emit_event
from app.services.save_endpoint import add_endpoint
from plugins.billing.mail import MailDelivery, MailOptions
from tests.domain.make import WHEN
from tests.services.test_deliver_outbox import StandingClock

TO = WebhookEndpoint(1, "mailto:ops@example.org", "")


class Inbox:
    """Takes mail, or answers as told."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answer = "250 OK"
        self.rcpt = "250 OK"

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if self.rcpt.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.mails.append(mail)
        return self.answer


class Server:
    """One SMTP server on a free port of loopback."""

    def __init__(self, **how: Any) -> None:
        self.inbox = Inbox()
        self._controller = Controller(self.inbox, hostname="127.0.0.1", port=_free_port(), **how)

    def __enter__(self) -> "Server":
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def options(self, **more: Any) -> MailOptions:
        plain = {"host": "127.0.0.1", "port": self._controller.port, "security": "none", "sender": "cloud@example.org"}
        return MailOptions(**{**plain, **more})


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


def _event(kind: str = "node.failed", **data: object) -> OutboxMessage:
    body = json.dumps({"type": kind, "timestamp": "2026-01-01T00:00:00+00:00", "data": data})
    return OutboxMessage(1, 1, "msg_abc", kind, body, WHEN)


def _deliver(options: MailOptions, message: OutboxMessage, to: WebhookEndpoint = TO) -> DeliveryResult:
    return MailDelivery(options).deliver(message, to, 1_767_225_600)


def test_an_event_arrives_as_a_mail_that_people_can_read(server: Server) -> None:
    assert _deliver(server.options(), _event(node="n3", detected="2026-01-01T00:00:00+00:00")).delivered
    (mail,) = server.inbox.mails
    assert mail["To"] == "ops@example.org"
    assert mail["From"] == "cloud@example.org"
    assert mail["Subject"] == "[holdfast] node.failed: n3"
    assert mail["Message-ID"] == "<msg_abc@example.org>", "the event's id, which stays the same over all tries"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"] == "Thu, 01 Jan 2026 00:00:00 +0000"
    text = mail.get_content().replace("\r\n", "\n")
    assert "node: n3" in text
    assert json.loads(text.rpartition("-- \n")[2])["type"] == "node.failed"


def test_what_a_device_or_a_customer_wrote_makes_no_header(server: Server) -> None:
    evil = "web\r\nBcc: everybody@example.org\r\n\r\n<b>hi</b> ünï"
    assert _deliver(server.options(), _event("vm.unplaced", name=evil, reason="ß" * 300)).delivered
    (mail,) = server.inbox.mails
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("[holdfast] vm.unplaced: web Bcc: everybody@example.org")
    assert "ß" * 300 in mail.get_content().replace("\n", "")


@pytest.mark.parametrize(
    ("where", "answer"),
    [("rcpt", "550 no such user here"), ("rcpt", "450 try later"), ("answer", "552 mailbox full")],
)
def test_a_refusal_is_told_in_the_servers_words(server: Server, where: str, answer: str) -> None:
    setattr(server.inbox, where, answer)
    result = _deliver(server.options(), _event())
    assert not result.delivered
    assert answer[4:] in result.error
    assert not result.gone, "the outbox tries again: a mailbox that is full today is not for ever"


def test_a_server_that_is_not_there_is_a_failure_and_no_exception() -> None:
    with Server() as server:
        options = server.options()
    result = _deliver(options, _event())
    assert not result.delivered
    assert "refused" in result.error.lower()


def _certificate(directory: Path) -> tuple[Path, ssl.SSLContext]:
    certificate, key = directory / "cert.pem", directory / "key.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    where = ["-keyout", str(key), "-out", str(certificate), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *words.split(), *where], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return certificate, context


def _only_alice(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
    return AuthResult(success=(data.login, data.password) == (b"alice", b"s3cret"), handled=False)


def test_the_password_goes_over_tls_only_and_only_to_a_server_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = _certificate(tmp_path)
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    with Server(tls_context=context, authenticator=_only_alice, auth_required=True, auth_require_tls=True) as server:
        options = server.options(security="starttls", username="alice", password_file=secret)
        untrusted = _deliver(options, _event())
        assert "certificate verify failed" in untrusted.error.lower()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert _deliver(options, _event()).delivered
        secret.write_text("wrong\n")
        refused = _deliver(options, _event())
        assert not refused.delivered
        assert "535" in refused.error
        assert "wrong" not in refused.error
        anonymous = _deliver(server.options(security="starttls"), _event())
        assert not anonymous.delivered
        assert len(server.inbox.mails) == 1


def test_options_that_cannot_work_are_refused_at_start() -> None:
    registry = Registry.load()
    with pytest.raises(PluginError, match="sender"):
        registry.billing("mail", {"host": "mail.example.org", "sender": "nobody"})
    with pytest.raises(PluginError, match="there is no such option"):
        registry.billing("mail", {"host": "mail.example.org", "sender": "a@b", "passwort": "x"})
    registry.billing("mail", {"host": "mail.example.org", "sender": "a@b.example"})
    no_file = MailOptions(host="127.0.0.1", sender="a@b.example", username="x", security="none", port=1)
    assert not _deliver(no_file, _event()).delivered


def test_an_event_of_the_cluster_reaches_a_mailbox_by_the_products_own_wiring(server: Server) -> None:
    """From the transaction of what happened, through the outbox and the plugin that bootstrap chose, to the server."""
    mail = server.options().model_dump(include={"host", "port", "security", "sender"})
    delivery = build_delivery(Config(notify=NotifySection(mail=mail)), Registry.load())
    store, clock = MemoryStore(), StandingClock(WHEN)
    store.run(lambda tx: add_endpoint(tx, WebhookEndpoint(0, "mailto:ops@example.org", "", events=("node.failed",))))
    store.run(lambda tx: emit_event(tx, "node.failed", {"node": "n3"}, WHEN))
    store.run(lambda tx: emit_event(tx, "vm.started", {"vm": 1}, WHEN))
    assert deliver_due(store, delivery, clock, (0.0, 5.0)) == 1
    (arrived,) = server.inbox.mails
    assert arrived["Subject"] == "[holdfast] node.failed: n3"
    assert deliver_due(store, delivery, clock, (0.0, 5.0)) == 0
