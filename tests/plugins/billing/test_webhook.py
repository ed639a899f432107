"""The webhook plugin against a real HTTP server that checks signatures as receivers do."""

import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from app.plugin_api import DeliveryResult, OutboxMessage, WebhookEndpoint
from plugins.billing.webhook import WebhookDelivery, WebhookOptions
from tests.plugins.billing.receiver import SECRET, Answer, Receiver

_BODY = '{"type":"vm.started","timestamp":"2026-01-01T00:00:00+00:00","data":{"vm":17,"name":"Größe"}}'


def _send(url: str, *, private: bool = True, body: str = _BODY, secret: str = SECRET, seconds: float = 5.0,
          at: int | None = None) -> DeliveryResult:  # fmt: skip
    delivery = WebhookDelivery(WebhookOptions(allow_private_targets=private, timeout_seconds=seconds))
    message = OutboxMessage(1, 1, "msg_2fmUKqPzsS0", "vm.started", body, datetime(2026, 1, 1, tzinfo=UTC))
    return delivery.deliver(message, WebhookEndpoint(1, url, secret), at or int(time.time()))


def _port_refused() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_receiver_can_check_the_signature_and_reads_the_event() -> None:
    at = int(time.time()) - 3
    with Receiver() as receiver:
        assert _send(f"{receiver.url}?key=a%20b", at=at) == DeliveryResult(True)
    assert receiver.errors == []
    (got,) = receiver.received
    assert (got.path, got.event["type"], got.event["data"]) == (
        "/hook?key=a%20b", "vm.started", {"vm": 17, "name": "Größe"},
    )  # fmt: skip
    assert got.headers["webhook-id"] == "msg_2fmUKqPzsS0"
    assert got.headers["webhook-timestamp"] == str(at)
    assert got.headers["content-type"] == "application/json"
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_a_wrong_secret_is_seen_by_the_receiver() -> None:
    with Receiver() as receiver:
        assert not _send(receiver.url, secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").delivered
    assert receiver.errors == ["WebhookVerificationError('No matching signature found')"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    with Receiver() as other, Receiver(Answer(status, {"Location": other.url})) as receiver:
        result = _send(receiver.url)
    assert (result.delivered, result.gone) == (False, False)
    assert f"HTTP {status}" in result.error
    assert (other.received, other.errors) == ([], [])


def test_gone_means_never_again() -> None:
    with Receiver(Answer(410)) as receiver:
        assert _send(receiver.url).gone


@pytest.mark.parametrize(
    ("status", "said", "seconds"),
    [
        (503, "7", 7.0), (429, "120", 120.0), (503, None, None), (429, None, 30.0), (502, None, 30.0), (504, "x", 30.0),
        (503, "-1", None), (503, "²", None), (503, "Fri, 99 Nan 2026", None),
    ],
)  # fmt: skip
def test_what_the_receiver_says_of_a_later_try(status: int, said: str | None, seconds: float | None) -> None:
    headers = {} if said is None else {"Retry-After": said.encode().decode("latin-1")}
    with Receiver(Answer(status, headers)) as receiver:
        result = _send(receiver.url)
    assert (result.delivered, result.retry_after_seconds) == (False, seconds)


def test_a_later_try_may_be_given_as_a_date() -> None:
    now = datetime.now(UTC)
    with Receiver(Answer(503, {"Retry-After": format_datetime(now + timedelta(seconds=90), usegmt=True)})) as receiver:
        result = _send(receiver.url, at=int(now.timestamp()))
    assert result.retry_after_seconds == pytest.approx(90, abs=1)


def test_a_receiver_that_drips_is_cut_off_at_the_end_of_the_time_for_the_whole_try() -> None:
    with Receiver(Answer(200, drip_seconds=20)) as receiver:
        began = time.monotonic()
        result = _send(receiver.url, seconds=0.4)
        took = time.monotonic() - began
    assert not result.delivered
    assert result.error == "no complete answer within 0.4 s"
    assert took < 2


def test_a_receiver_that_says_nothing_at_all_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        result = _send(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.4)
    assert not result.delivered
    assert time.monotonic() - began < 2


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    with Receiver(Answer(500, body=b"x" * 50_000_000)) as receiver:
        result = _send(receiver.url)
    assert result.error.startswith("HTTP 500: xxx")
    assert len(result.error) < 300


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "[::1]", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "[2002:a00:1::]", "[64:ff9b::a00:1]",
        "2130706433", "0x7f.1",
    ],
)  # fmt: skip
def test_private_targets_are_refused(host: str) -> None:
    result = _send(f"http://{host}:{_port_refused()}/", private=False)
    assert not result.delivered
    assert "not a public address" in result.error
    assert "allow_private_targets" in result.error


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/", "http://", "not a url", "http://[::1/"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    result = _send(url)
    assert not result.delivered
    assert result.error


def test_a_refused_connection_and_an_unknown_host_are_results_not_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "ConnectError" in _send(f"http://127.0.0.1:{_port_refused()}/").error

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "Name or service not known" in _send("http://hook.test/").error


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_?"])
def test_a_secret_that_cannot_sign_is_a_result(secret: str) -> None:
    with Receiver() as receiver:
        result = _send(receiver.url, secret=secret)
    assert not result.delivered
    assert result.error
    assert receiver.received == []


def test_a_body_that_is_too_large_is_not_sent() -> None:
    with Receiver() as receiver:
        assert "larger than 20000 bytes" in _send(receiver.url, body='"' + "x" * 20_000 + '"').error
    assert receiver.received == []


class _Dns:
    """Answers each question with the next list of addresses, as a name server under an attacker's rule does."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self._real = socket.getaddrinfo
        self.asked = 0

    def __call__(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host != "hook.test":
            return self._real(host, port, *args, **kwargs)
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in self._answers.pop(0)]


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    dns = _Dns(["127.0.0.1"], ["127.0.0.9"])
    monkeypatch.setattr(socket, "getaddrinfo", dns)
    with Receiver() as receiver:
        assert _send(f"http://hook.test:{receiver.port}/hook").delivered
    assert dns.asked == 1, "a second answer could be another one"
    assert receiver.received[0].headers["host"] == f"hook.test:{receiver.port}"


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _Dns(["93.184.215.14", "10.0.0.1"]))
    assert "10.0.0.1" in _send("http://hook.test/", private=False).error


def test_the_next_address_is_tried_when_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _Dns(["127.0.0.9", "127.0.0.1"]))
    with Receiver() as receiver:
        assert _send(f"http://hook.test:{receiver.port}/hook").delivered


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for hook.test that signs itself, and its key."""
    at = tmp_path_factory.mktemp("tls")
    key, cert = at / "key.pem", at / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=hook.test", "-addext", "subjectAltName=DNS:hook.test"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


@pytest.mark.parametrize(("host", "trusted", "works"), [
    ("hook.test", True, True), ("hook.test", False, False), ("127.0.0.1", True, False),
])  # fmt: skip
def test_the_certificate_must_be_that_of_the_name_although_an_address_is_connected_to(
    certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool, works: bool
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    monkeypatch.setattr(socket, "getaddrinfo", _Dns(["127.0.0.1"]))
    with Receiver(tls=tls) as receiver:
        result = _send(f"https://{host}:{receiver.port}/hook")
    assert result.delivered is works, result.error
    assert len(receiver.received) == int(works)
    assert works or "CERTIFICATE_VERIFY_FAILED" in result.error
