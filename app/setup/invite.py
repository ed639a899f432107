"""`holdfast cluster invite`: let one node in. Runs as root on a member, for as long as the invitation is open.

The secrets of the cluster (Corosync's key, the database's password, the authority's key) are root's, and the API is not
root: so it is this command, not the API, that hands them out, once, to the node that shows the token.
"""

import base64
import hmac
import json
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from app.adapters.cluster_files import pki, places
from app.adapters.cluster_files.layout_json import layout_to_text
from app.domain.errors import Conflict, DomainError, InvalidInput
from app.domain.layout import Layout
from app.domain.node import NodeRole
from app.ports.store import StoreUnavailable
from app.setup.join_token import JoinToken

log = structlog.get_logger(__name__)

PORT = 8471
#: what a joining node asks for, and its farewell
JOIN_PATH, JOINED_PATH = "/join", "/joined"
WRONG_TOKENS_MAX = 5
BODY_BYTES_MAX = 64 * 1024
#: a slow or silent caller holds one thread for so long at most
CALLER_SECONDS = 20
Json = dict[str, Any]


class WrongToken(DomainError):
    """The caller does not know the secret."""


@dataclass(frozen=True)
class Secrets:
    """What a member needs that is in no database. `shared`: the sections of holdfast.toml that all nodes share."""

    ca_pem: bytes
    ca_key: bytes
    corosync_key: bytes
    database_password: str
    shared: Mapping[str, Any]


class Invitation:
    """One token for one node. `admit` puts the node into the layout and returns the new one, in one transaction."""

    def __init__(
        self, token: JoinToken, secrets: Secrets,
        admit: Callable[[str, tuple[str, ...], NodeRole, bool | None], Layout],
        said: Callable[[str], None] = lambda _text: None,
    ) -> None:  # fmt: skip
        self._token, self._secrets, self._admit, self._said = token, secrets, admit, said
        self._lock = threading.Lock()
        self._wrong = 0
        self.node = ""
        self.joined = threading.Event()
        self.closed = threading.Event()

    def answer(self, path: str, body: Json) -> Json:
        """One request. WrongToken, InvalidInput or Conflict for those that get nothing."""
        with self._lock:
            self._check(body)
            if path == JOIN_PATH:
                return self._join(body)
            if path == JOINED_PATH and body.get("node") == self.node != "":
                return {}
        raise InvalidInput("path", f"{path} is nothing that a joining node asks for")

    def _check(self, body: Json) -> None:
        if self.closed.is_set():
            raise WrongToken("this invitation is closed: make a new one with `holdfast cluster invite`")
        if not hmac.compare_digest(str(body.get("secret", "")).encode(), self._token.secret.hex().encode()):
            self._wrong += 1
            if self._wrong >= WRONG_TOKENS_MAX:
                self.closed.set()
            raise WrongToken("the token is wrong or was used: make a new one with `holdfast cluster invite`")

    def _join(self, body: Json) -> Json:
        node, addresses = _text(body, "node"), tuple(str(a) for a in body.get("addresses") or ())
        try:
            role = NodeRole(_text(body, "role"))
        except ValueError as error:
            raise InvalidInput("role", str(error)) from error
        if self.node not in ("", node):
            raise WrongToken(f"this token was used by {self.node}: make a new one with `holdfast cluster invite`")
        theirs, ours = _text(body, "version"), version("holdfast")
        if theirs != ours:
            raise Conflict(f"the cluster runs holdfast {ours}, this node has {theirs}: install the same version")
        certificate = self._sign(_text(body, "csr"), node, addresses)
        self.node, before = node, self.node
        try:
            layout = self._admit(node, addresses, role, body.get("database"))
        except DomainError:
            # Surely not admitted. After any other trouble it may be, and nobody else gets in by this token.
            self.node = before
            raise
        self._said(f"{node} joins with {', '.join(addresses)}")
        return self._bundle(layout, role, certificate)

    def _sign(self, csr: str, node: str, addresses: tuple[str, ...]) -> bytes:
        ca, key = self._secrets.ca_pem, pki.key_from_pem(self._secrets.ca_key)
        return pki.sign_request(csr.encode(), node, addresses, ca, key, datetime.now(UTC))

    def _bundle(self, layout: Layout, role: NodeRole, certificate: bytes) -> Json:
        s = self._secrets
        return {
            "layout": layout_to_text(layout),
            "ca": s.ca_pem.decode(),
            # A witness cannot invite: it stands where fewer eyes watch it.
            "ca_key": "" if role is NodeRole.WITNESS else s.ca_key.decode(),
            "certificate": certificate.decode(),
            "corosync_key": base64.b64encode(s.corosync_key).decode(),
            "database_password": s.database_password,
            "shared": dict(s.shared),
        }


def _text(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidInput(name, f"{name} is missing")
    return value


class _Caller(BaseHTTPRequestHandler):
    """One connection; the invitation decides."""

    timeout = CALLER_SECONDS
    server: "InviteServer"

    def do_POST(self) -> None:
        status, answer = 200, {}
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= BODY_BYTES_MAX:
                raise InvalidInput("body", f"1 to {BODY_BYTES_MAX} bytes")
            body = json.loads(self.rfile.read(length))
            if not isinstance(body, dict):
                raise InvalidInput("body", "is no object")
            answer = self.server.invitation.answer(self.path, body)
        except WrongToken as error:
            status, answer = 403, {"error": str(error)}
        except Conflict as error:
            status, answer = 409, {"error": str(error)}
        except (DomainError, ValueError) as error:
            status, answer = 400, {"error": str(error)}
        except (StoreUnavailable, OSError) as error:
            status, answer = 503, {"error": f"it cannot do that now ({error}): say the same again in a moment"}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
        if status == 200 and self.path == JOINED_PATH:
            # Only now: whoever waits for it ends this process.
            self.server.invitation.joined.set()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what matters the invitation says."""


class InviteServer(ThreadingHTTPServer):
    """TLS 1.3 with the node's own certificate."""

    daemon_threads = True

    def __init__(self, address: str, port: int, certificate: Path, key: Path, invitation: Invitation) -> None:
        self.invitation = invitation
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_3
        self._tls.load_cert_chain(certificate, key)
        super().__init__((address, port), _Caller)

    def get_request(self) -> tuple[Any, Any]:
        """The handshake is left to the caller's own thread: one that is silent keeps nobody else out."""
        plain, address = super().get_request()
        plain.settimeout(CALLER_SECONDS)
        return self._tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A broken connection is the caller's trouble; it asks again. All else is ours, and has to be seen."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("a joining node got no answer", address=client_address[0])


def serve_until(server: InviteServer, seconds: float) -> bool:
    """Answer until the node has joined (True) or time is up (False)."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    until = time.monotonic() + seconds
    try:
        while not server.invitation.joined.wait(0.2):
            if time.monotonic() > until or server.invitation.closed.is_set():
                return False
        return True
    finally:
        server.invitation.closed.set()
        server.shutdown()
        server.server_close()


def read_secrets(root: Path, shared: Mapping[str, Any]) -> Secrets:
    """From this member's disk. Conflict on one that has no authority's key (a witness)."""

    def read(path: Path) -> bytes:
        try:
            return (root / path.relative_to("/")).read_bytes()
        except FileNotFoundError as error:
            raise Conflict(f"{path} is not here: invite from a node that is no witness") from error

    return Secrets(
        read(places.CA_CERTIFICATE), read(places.CA_KEY), read(places.COROSYNC_KEY),
        read(places.DATABASE_PASSWORD).decode().strip(), shared,
    )  # fmt: skip
