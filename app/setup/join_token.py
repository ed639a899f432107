"""The text that lets one node in: a secret for the server, and the fingerprint by which the node knows the server."""

import base64
import binascii
import secrets
from dataclasses import dataclass

from app.domain.errors import InvalidInput

PREFIX = "hfj_"
_FINGERPRINT_BYTES, _SECRET_BYTES = 32, 24


@dataclass(frozen=True)
class JoinToken:
    """`fingerprint`: SHA-256 of the server's certificate, hexadecimal. `secret`: known to the server alone."""

    fingerprint: str
    secret: bytes

    @property
    def text(self) -> str:
        """For the operator's clipboard."""
        return PREFIX + base64.urlsafe_b64encode(bytes.fromhex(self.fingerprint) + self.secret).decode()


def new_token(fingerprint: str) -> JoinToken:
    """A fresh secret for that server."""
    return JoinToken(fingerprint, secrets.token_bytes(_SECRET_BYTES))


def parse_token(text: str) -> JoinToken:
    """InvalidInput for what is none."""
    try:
        raw = base64.b64decode(text.removeprefix(PREFIX), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not text.startswith(PREFIX) or len(raw) != _FINGERPRINT_BYTES + _SECRET_BYTES:
        raise InvalidInput("token", "this is no join token: copy the whole text that `holdfast cluster invite` printed")
    return JoinToken(raw[:_FINGERPRINT_BYTES].hex(), raw[_FINGERPRINT_BYTES:])
